//! Figures since the start, as OpenMetrics.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

type Label = (&'static str, &'static str);

/// What is counted. No label is anything that a stranger chooses.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    answers: Family<[Label; 2], Counter>,
    refusals: Family<[Label; 1], Counter>,
    seconds: Histogram,
    waiting: Gauge,
    revoked: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("nuncio_node");
        let answers: Family<[Label; 2], Counter> = Family::default();
        let refusals: Family<[Label; 1], Counter> = Family::default();
        let seconds = Histogram::new([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0]);
        let (waiting, revoked) = (Gauge::default(), Gauge::default());
        registry.register("answers", "Answers, by route and class of status", answers.clone());
        registry.register("refusals", "Refusals, by error code", refusals.clone());
        registry.register("answer_seconds", "Time from a request's head to its answer", seconds.clone());
        registry.register("audit_records_waiting", "Audit records that wait for the log", waiting.clone());
        registry.register("revoked_transactions", "Revoked transactions that are kept", revoked.clone());
        Self { registry, answers, refusals, seconds, waiting, revoked }
    }

    /// One answer; its error's code, if it is a refusal.
    pub(crate) fn answered(&self, route: &'static str, status: u16, error: Option<&'static str>, took: Duration) {
        let class = match status {
            200..=299 => "2xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.answers.get_or_create(&[("route", route), ("status", class)]).inc();
        if let Some(error) = error {
            self.refusals.get_or_create(&[("error", error)]).inc();
        }
        self.seconds.observe(took.as_secs_f64());
    }

    /// All of it as text.
    pub(crate) fn text(&self, waiting: u64, revoked: usize) -> String {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.revoked.set(i64::try_from(revoked).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
