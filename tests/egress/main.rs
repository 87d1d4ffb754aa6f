//! The guarded HTTP client against hostile URLs, names, redirects and hosts. Needs no server but its
//! own on loopback.

mod net;
mod oracle;
mod origin;

mod faults;
mod limits;
mod names;
mod properties;
mod retries;
mod sockets;
mod tls;
mod turns;
mod vectors;
