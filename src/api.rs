//! The contract that every role shares: the custom resource, its conditions and labels, the message that a Job
//! carries, and what the Secret of API keys holds. Pure types; nothing here talks to anything.

pub mod api_key;
pub mod compression;
pub mod condition;
pub mod image_batch;
pub mod labels;
pub mod progress;
pub mod source;
pub mod stage;
pub mod status;
pub mod webhook;
