//! A service as its caller sees it, with small servers behind it.

mod programs;
mod scene;

pub(super) use scene::Scene;
