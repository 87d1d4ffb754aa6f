//! ImageBatch compresses the images of a product CSV on Kubernetes.
//!
//! ```text
//!  curl, web page                                   kubectl apply
//!        |  CSV                                          |
//!        v                                               |
//!  gateway --------- source.csv ------> object storage   |
//!        |  creates                        ^        |    |
//!        v                                 |        |    v
//!  ImageBatch <----------------------------|--------|----+
//!        |  watch                          |        |
//!        v                                 |        |
//!  controller                              |        |
//!        |  applies Jobs                   |        v
//!        v                                 |
//!  compressor: ingest -> compress -> report-+----> MongoDB
//! ```
//!
//! Modules stand in the order of their layers; each imports only from those above it, and the roles
//! never import each other (`tests/it/layering.rs` checks it). Between roles there are four messages:
//! the ImageBatch, the Job, objects in storage, and the records. The kubectl plugin, at the end, is a
//! client of the API server and the gateway.

pub mod api;
pub mod manifest;

pub mod egress;
pub mod failpoint;
pub mod metrics;
pub mod records;
pub mod storage;

pub mod telemetry;

pub mod compressor;
pub mod controller;
pub mod gateway;

pub mod plugin;
