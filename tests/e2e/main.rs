//! End-to-end tests: what a user does with kubectl and curl, on a real cluster with the chart in it.
//!
//! `tests/run e2e` brings both up. The tests share the cluster and one of them kills its pods, so they
//! run one after the other.

mod cluster;
mod disruption;
mod failover;
mod kubectl;
mod kueue;
mod lifecycle;
mod logs;
mod nodes;
mod plugin;
mod rights;
mod secured;
mod upgrade;
mod upload;
