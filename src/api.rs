//! The contract that every role shares: the custom resource, its conditions and labels, and the
//! message that a Job carries. Pure types; nothing here talks to anything.

pub mod compression;
pub mod condition;
pub mod image_batch;
pub mod labels;
pub mod progress;
pub mod source;
pub mod stage;
pub mod status;
pub mod webhook;
