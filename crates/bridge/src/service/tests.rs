//! A service as its caller sees it, with small servers behind it.

mod addresses;
mod programs;
mod scene;
