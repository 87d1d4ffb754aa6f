//! Who may do what: callers of each way to authenticate, each route of the table, and two namespaces.

mod images;
mod issuer;
mod log;
mod matrix;
mod session;
pub(crate) mod surroundings;
mod tenants;
