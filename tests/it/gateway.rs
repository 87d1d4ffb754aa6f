//! The gateway through HTTP, on the real API server, S3 and the MongoDB protocol.

mod client;
mod nginx;
mod surroundings;

mod absent;
mod admission;
pub(crate) mod auth;
mod caching;
mod cancel;
mod cdn;
mod connection;
mod description;
mod encrypted;
mod images;
mod killed;
mod list;
mod origins;
mod page;
mod products;
mod rate;
mod refusals;
mod requests;
mod size;
mod status;
mod tls;
mod upload;
mod watch;
