-- Run once by the Postgres image, on an empty data folder.
CREATE DATABASE dagster OWNER teei;
