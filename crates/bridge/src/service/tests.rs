//! A service as its caller sees it, with small servers behind it.

mod addresses;
mod natives;
mod programs;
mod scene;
