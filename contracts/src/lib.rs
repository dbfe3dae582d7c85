//! What the bytes mean.
//!
//! The folder of this crate is the single source of truth about Nuncio's wire and disk formats, for every language: short
//! specifications, `registry.toml` (every number, label, limit and code, once, each with its reason), CDDL, JSON Schemas
//! and test vectors. The crate only makes the registry's constants and the OpenAPI documents available to Rust; it has no dependency.
//!
//! ```
//! use nuncio_contracts::{REGISTRY_TOML, registry};
//!
//! assert!(REGISTRY_TOML.contains("[limit.frame_len_max]"));
//! assert!(registry::limit::FRAME_LEN_MAX > 0);
//! ```

#![no_std]

pub mod openapi;
pub mod registry;

/// The registry as it is committed, for programs that show limits with their reasons.
pub const REGISTRY_TOML: &str = include_str!("../registry.toml");

/// The JSON Schema of a token service's policy.
pub const POLICY_SCHEMA: &str = include_str!("../schema/policy.json");
