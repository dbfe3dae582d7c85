//! A row as it is told: printed, written as JSON, read again for the report.

use serde::{Deserialize, Serialize};

use crate::measure::Row;

/// How wide the column of names is.
const NAME_WIDTH: usize = 27;

/// One line of the table.
#[derive(Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) ours: f64,
    pub(crate) beside: Option<String>,
    pub(crate) beside_value: Option<f64>,
    /// Our speed divided by the one beside it.
    pub(crate) ratio: Option<f64>,
}

impl Line {
    pub(crate) fn of(name: String, row: &Row) -> Self {
        let Row { unit, ours, beside, less_is_better } = *row;
        let ratio = beside.map(|(_, its)| if less_is_better { its / ours } else { ours / its });
        let (beside, beside_value) = (beside.map(|(what, _)| what.to_owned()), beside.map(|(_, its)| its));
        Self { name, unit: unit.to_owned(), ours, beside, beside_value, ratio }
    }

    /// What stands over the columns.
    pub(crate) fn head() -> String {
        format!("{:<NAME_WIDTH$} {:>12} {:<6} {:<44} {:>12} {:>7}", "row", "ours", "unit", "beside", "its", "ratio")
    }

    /// The size at which it was measured, of a row of a curve, and the curve's name.
    pub(crate) fn on_curve(&self) -> Option<(&str, f64)> {
        let (curve, size) = self.name.strip_prefix("grow-")?.rsplit_once('-')?;
        Some((curve, size.parse().ok()?))
    }
}

impl core::fmt::Display for Line {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let number = |value: Option<f64>, digits| value.map_or_else(String::new, |value| format!("{value:.digits$}"));
        let (beside, its) = (self.beside.as_deref().unwrap_or("-"), number(self.beside_value, 3));
        let (name, unit, ratio) = (&self.name, &self.unit, number(self.ratio, 2));
        write!(f, "{name:<NAME_WIDTH$} {:>12.3} {unit:<6} {beside:<44} {its:>12} {ratio:>7}", self.ours)
    }
}
