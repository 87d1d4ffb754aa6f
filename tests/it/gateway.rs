//! The gateway through HTTP, on the real API server, S3 and the MongoDB protocol.

mod client;
mod surroundings;

mod absent;
mod cancel;
mod connection;
mod images;
mod page;
mod refusals;
mod requests;
mod size;
mod status;
mod upload;
