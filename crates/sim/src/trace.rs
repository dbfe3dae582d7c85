//! What happened, in words, when somebody wants to read it.

/// Collects lines, or does nothing.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Says nothing, and costs nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self { lines: None }
    }

    /// Keeps every line.
    #[must_use]
    pub const fn on() -> Self {
        Self { lines: Some(Vec::new()) }
    }

    /// Adds a line; `what` is made only if it is kept.
    pub fn say(&mut self, at_ms: u64, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>10}.{:03} {}", at_ms / 1_000, at_ms % 1_000, what()));
        }
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
