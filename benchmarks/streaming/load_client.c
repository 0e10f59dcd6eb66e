/* Many SSE clients in one thread: opens streams, counts events, checks their order, times them.
 *
 * Works for any server that sends `id:` and `data:` lines; a payload may carry "n": (its company's
 * sequence, from 1) and "t": (publish time, CLOCK_REALTIME microseconds).
 *
 *   load_client --port P --path '/stream?companyId=c%d' --clients 1000 --companies 1
 *               [--ready LINE]      ready at this line's prefix; default: at the response head
 *               [--in-flight 64]    connections that may wait for their head at once
 *               [--ids FILE]        a line "n id" a client: it resumes behind event n
 *               [--http 1.1]        version that is asked for
 *               [--never-read]      asks, then reads nothing, with the smallest receive buffer
 *               [--seconds 300]     hard end
 *
 * Prints a JSON line when all are ready; then commands on stdin: `mark` zeroes the counters,
 * `report` prints them, end of file ends. An event costs it 2-4 microseconds, most of that recv. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 32768, READ_BYTES = 256 * 1024, BUCKET_US = 10, BUCKETS = 600000 };
enum state { IDLE, CONNECTING, HEAD, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, PLAIN, CLOSED };

struct client {
    int fd, number, partial;
    enum state state;
    int has_id, has_data, ready;
    size_t chunk_left;
    int64_t n, t, last_n, asked_us, ready_us;
    char *line; /* a line that is not complete yet */
};

static struct client *clients;
static int client_count = 1, company_count = 1, in_flight_limit = 64, never_read, port;
static const char *path = "/", *http_version = "1.1", *ready_line, *ids_file;
static char (*last_ids)[128];
static int epoll_fd, next_client, in_flight, ready_count, announced;
static uint32_t latency[BUCKETS]; /* of BUCKET_US each; the last one holds what is longer */
static int64_t deliveries, timed, gaps, errors, closed, bytes, started_us, now_us, marked_cpu_us;

static int64_t clock_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static void end(struct client *c, int is_error) {
    if (c->state == CLOSED) return;
    if (!c->ready) in_flight--;
    if (is_error) errors++;
    else closed++;
    close(c->fd);
    c->state = CLOSED;
}

static void become_ready(struct client *c) {
    if (c->ready) return;
    c->ready = 1;
    c->ready_us = clock_us();
    in_flight--;
    ready_count++;
}

static int64_t member(const char *line, size_t length, const char *name) {
    const char *found = memmem(line, length, name, strlen(name));
    return found ? strtoll(found + strlen(name), NULL, 10) : 0;
}

static void dispatch(struct client *c) {
    if (c->has_id && c->has_data) {
        deliveries++;
        if (c->n) {
            if (c->last_n && c->n != c->last_n + 1) gaps++;
            c->last_n = c->n;
        }
        if (c->t) {
            int64_t bucket = (now_us - c->t) / BUCKET_US;
            if (bucket < 0) bucket = 0;
            latency[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
            timed++;
        }
    }
    c->has_id = c->has_data = 0;
    c->n = c->t = 0;
}

static void take_line(struct client *c, const char *line, size_t length) {
    if (length && line[length - 1] == '\r') length--;
    if (length == 0) {
        dispatch(c);
    } else if (length > 5 && !memcmp(line, "data:", 5)) {
        c->has_data = 1;
        c->n = member(line, length, "\"n\":");
        c->t = member(line, length, "\"t\":");
    } else if (length > 3 && !memcmp(line, "id:", 3)) {
        c->has_id = 1;
    }
    if (!c->ready && ready_line && length >= strlen(ready_line) &&
        !memcmp(line, ready_line, strlen(ready_line)))
        become_ready(c);
}

static void take_body(struct client *c, const char *data, size_t length) {
    while (length) {
        const char *end_of_line = memchr(data, '\n', length);
        size_t part = end_of_line ? (size_t)(end_of_line - data) : length;
        if (c->partial || !end_of_line) {
            if (c->partial + part >= LINE_BYTES) return end(c, 1);
            if (!c->line) c->line = malloc(LINE_BYTES);
            memcpy(c->line + c->partial, data, part);
            c->partial += part;
            if (!end_of_line) return;
            c->line[c->partial] = '\n'; /* stops strtoll */
            take_line(c, c->line, c->partial);
            c->partial = 0;
        } else {
            take_line(c, data, part);
        }
        data += part + 1;
        length -= part + 1;
    }
}

static void take_chunks(struct client *c, const char *data, size_t length) {
    while (length && c->state != CLOSED) {
        if (c->state == CHUNK_DATA) {
            size_t part = length < c->chunk_left ? length : c->chunk_left;
            take_body(c, data, part);
            data += part;
            length -= part;
            c->chunk_left -= part;
            if (!c->chunk_left && c->state != CLOSED) c->state = CHUNK_END;
            continue;
        }
        char byte = *data++;
        length--;
        if (c->state == CHUNK_END) { /* the line end behind a chunk */
            if (byte == '\n') c->state = CHUNK_SIZE, c->chunk_left = 0;
        } else if (byte == '\n') {
            if (!c->chunk_left) return end(c, 0);
            c->state = CHUNK_DATA;
        } else if (byte != '\r') {
            int digit = byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10;
            c->chunk_left = c->chunk_left * 16 + (size_t)digit;
        }
    }
}

static void take(struct client *c, char *data, size_t length) {
    if (c->state == HEAD) { /* comes whole: it is far smaller than a segment */
        char *body = memmem(data, length, "\r\n\r\n", 4);
        if (!body || length < 12 || memcmp(data + 9, "200", 3)) return end(c, 1);
        body += 4;
        c->state = memmem(data, (size_t)(body - data), "chunked", 7) ? CHUNK_SIZE : PLAIN;
        if (!ready_line) become_ready(c);
        length -= (size_t)(body - data);
        data = body;
    }
    if (c->state == PLAIN) take_body(c, data, length);
    else take_chunks(c, data, length);
}

static void ask(struct client *c) {
    char request[1024], where[512];
    snprintf(where, sizeof where, path, c->number % company_count);
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/%s\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
                          "%s%s%s\r\n",
                          where, http_version, last_ids ? "Last-Event-ID: " : "",
                          last_ids ? last_ids[c->number] : "", last_ids ? "\r\n" : "");
    if (send(c->fd, request, (size_t)length, MSG_NOSIGNAL) != length) return end(c, 1);
    c->state = HEAD;
    struct epoll_event event = {.events = never_read ? 0 : EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
    if (never_read) become_ready(c);
}

static void connect_next(void) {
    struct client *c = &clients[next_client];
    c->number = next_client++;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) { perror("socket"); exit(1); }
    int smallest = 1;
    if (never_read) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &smallest, sizeof smallest);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->state = CONNECTING;
    c->asked_us = clock_us();
    in_flight++;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        return end(c, 1);
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

static void serve(struct client *c, uint32_t events) {
    static char buffer[READ_BYTES];
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) end(c, 1);
        else ask(c);
    } else if (never_read) {
        if (events & (EPOLLERR | EPOLLHUP)) end(c, 0);
    } else if (c->state != CLOSED) {
        ssize_t length = recv(c->fd, buffer, READ_BYTES - 1, 0);
        if (length > 0) {
            buffer[length] = '\n'; /* stops strtoll */
            now_us = clock_us();
            bytes += length;
            take(c, buffer, (size_t)length);
        } else if (length == 0 || errno != EAGAIN) {
            end(c, 0);
        }
    }
}

static double quantile_ms(double part) {
    int64_t rank = (int64_t)(part * (double)timed), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += latency[i]) > rank) return (i + 1) * BUCKET_US / 1000.0;
    return 0;
}

static void mark(void) {
    deliveries = timed = gaps = bytes = 0;
    memset(latency, 0, sizeof latency);
    marked_cpu_us = cpu_us();
}

static void report(void) {
    int64_t lowest = INT64_MAX, highest = 0, last_ready = 0;
    for (int i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        if (c->ready_us > last_ready) last_ready = c->ready_us;
        if (c->last_n < lowest) lowest = c->last_n;
        if (c->last_n > highest) highest = c->last_n;
    }
    printf("{\"ready\":%d,\"ready_seconds\":%.3f,\"deliveries\":%ld,\"gaps\":%ld,\"errors\":%ld,"
           "\"closed\":%ld,\"bytes\":%ld,\"lowest_n\":%ld,\"highest_n\":%ld,\"p50_ms\":%.2f,"
           "\"p99_ms\":%.2f,\"p999_ms\":%.2f,\"client_cpu_us\":%ld}\n",
           ready_count, last_ready ? (double)(last_ready - started_us) / 1e6 : 0.0,
           (long)deliveries, (long)gaps, (long)errors, (long)closed, (long)bytes, (long)lowest,
           (long)highest, quantile_ms(0.5), quantile_ms(0.99), quantile_ms(0.999),
           (long)(cpu_us() - marked_cpu_us));
    fflush(stdout);
}

static void obey(void) {
    char command[256];
    ssize_t length = read(0, command, sizeof command - 1);
    if (length <= 0) exit(0);
    command[length] = 0;
    if (strstr(command, "mark")) mark();
    if (strstr(command, "report")) report();
}

static void read_ids(void) {
    FILE *file = fopen(ids_file, "r");
    if (!file) { perror(ids_file); exit(1); }
    last_ids = calloc((size_t)client_count, sizeof *last_ids);
    for (int i = 0; i < client_count; i++) {
        long n;
        if (fscanf(file, "%ld %127s", &n, last_ids[i]) != 2) exit(1);
        clients[i].last_n = n;
    }
    fclose(file);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(name, "--never-read")) { never_read = 1; continue; }
        i++;
        if (!strcmp(name, "--port")) port = atoi(value);
        else if (!strcmp(name, "--path")) path = value;
        else if (!strcmp(name, "--clients")) client_count = atoi(value);
        else if (!strcmp(name, "--companies")) company_count = atoi(value);
        else if (!strcmp(name, "--ready")) ready_line = value;
        else if (!strcmp(name, "--in-flight")) in_flight_limit = atoi(value);
        else if (!strcmp(name, "--http")) http_version = value;
        else if (!strcmp(name, "--ids")) ids_file = value;
        else if (!strcmp(name, "--seconds")) alarm((unsigned)atoi(value));
        else { fprintf(stderr, "unknown option %s\n", name); return 2; }
    }
    clients = calloc((size_t)client_count, sizeof *clients);
    if (ids_file) read_ids();
    epoll_fd = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &event);
    started_us = clock_us();
    for (;;) {
        struct epoll_event events[1024];
        while (next_client < client_count && in_flight < in_flight_limit) connect_next();
        int count = epoll_wait(epoll_fd, events, 1024, announced ? -1 : 100);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) serve(events[i].data.ptr, events[i].events);
            else obey();
        }
        if (!announced && ready_count + errors + closed >= client_count) {
            announced = 1;
            report();
        }
    }
}
