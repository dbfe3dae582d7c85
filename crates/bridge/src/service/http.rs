//! stub
use super::{Ask, Base, NotHanded, Of};
use crate::config::Upstream;
pub(super) struct Address;
impl Address {
    pub(super) fn new(_: Base, _: Upstream) -> Result<Self, String> {
        Ok(Self)
    }
    pub(super) async fn hand(self: &std::sync::Arc<Self>, _: Ask) -> Result<(), NotHanded> {
        Ok(())
    }
    pub(super) async fn end(&self, _: Of) {}
    pub(super) fn stop(&self) {}
}
