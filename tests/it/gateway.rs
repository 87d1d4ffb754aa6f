//! The gateway through HTTP, on the real API server, S3 and the MongoDB protocol.

mod client;
mod surroundings;

mod absent;
mod caching;
mod cancel;
mod connection;
mod description;
mod images;
mod list;
mod origins;
mod products;
mod refusals;
mod requests;
mod size;
mod status;
mod upload;
mod watch;
