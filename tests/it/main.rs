//! Integration tests: the real API server, S3 and the MongoDB protocol; `tests/run it` starts them.

mod harness;

mod adversity;
mod codes;
mod compressor;
mod configuration;
mod controller;
mod corpus;
mod crd;
mod failpoints;
mod gateway;
mod intake;
mod layering;
mod leader;
mod lifecycle;
mod manifest;
mod messy;
mod page;
mod path;
mod plugin;
mod pods;
mod providers;
mod queue;
mod repeat;
mod retry;
mod sandbox;
mod scale;
mod telemetry;
mod webhook;
