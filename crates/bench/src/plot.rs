//! The curves of growth as one picture: a panel for each, both axes logarithmic.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::line::Line;

/// Pixels of one panel.
const PANEL: (u32, u32) = (520, 300);
const COLUMNS: usize = 2;
const OURS: RGBColor = RGBColor(0x0b, 0x5c, 0xad);
const ITS: RGBColor = RGBColor(0xb4, 0x53, 0x09);

/// One curve: the rows of one table in the order of their sizes.
pub(crate) type Curve<'a> = Vec<(f64, &'a Line)>;

/// The curves among the rows, by name.
pub(crate) fn curves(lines: &[Line]) -> BTreeMap<&str, Curve<'_>> {
    let mut curves: BTreeMap<&str, Curve<'_>> = BTreeMap::new();
    for line in lines {
        if let Some((name, size)) = line.on_curve() {
            curves.entry(name).or_default().push((size, line));
        }
    }
    curves.values_mut().for_each(|curve| curve.sort_by(|a, b| a.0.total_cmp(&b.0)));
    curves
}

/// Draws all curves into an SVG file.
pub(crate) fn draw(curves: &BTreeMap<&str, Curve<'_>>, file: &Path) -> Result<()> {
    let rows = curves.len().div_ceil(COLUMNS);
    let size = (PANEL.0 * u32::try_from(COLUMNS)?, PANEL.1 * u32::try_from(rows)?);
    let area = SVGBackend::new(file, size).into_drawing_area();
    area.fill(&WHITE).map_err(told)?;
    for ((name, curve), panel) in curves.iter().zip(area.split_evenly((rows, COLUMNS))) {
        panel_of(name, curve, &panel)?;
    }
    area.present().map_err(told)
}

fn panel_of(name: &str, curve: &Curve<'_>, panel: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<()> {
    let ours: Vec<_> = curve.iter().map(|(size, line)| (*size, line.ours)).collect();
    let its: Vec<_> = curve.iter().filter_map(|(size, line)| Some((*size, line.beside_value?))).collect();
    let all = || ours.iter().chain(&its);
    let bounds = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) = (all().map(of).fold(f64::INFINITY, f64::min), all().map(of).fold(0.0, f64::max));
        (low / 1.5..high * 1.5).log_scale()
    };
    // A size of none has no place on a logarithmic axis: it stands at one half.
    let place = |(size, value): &(f64, f64)| (size.max(0.5), *value);
    let mut chart = ChartBuilder::on(panel)
        .caption(name, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(bounds(|point| point.0.max(0.5)), bounds(|point| point.1))
        .map_err(told)?;
    chart.configure_mesh().x_desc("size").y_desc("us").light_line_style(WHITE).draw().map_err(told)?;
    for (points, colour, label) in [(&its, ITS, beside(curve)), (&ours, OURS, "nuncio")] {
        let places: Vec<_> = points.iter().map(place).collect();
        let dots = places.iter().map(|at| Circle::new(*at, 3, colour.filled()));
        chart.draw_series(dots).map_err(told)?;
        let series = LineSeries::new(places.iter().copied(), colour.stroke_width(2));
        let key = move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2));
        chart.draw_series(series).map_err(told)?.label(label).legend(key);
    }
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8)).draw().map_err(told)
}

fn beside<'a>(curve: &Curve<'a>) -> &'a str {
    curve.first().and_then(|(_, line)| line.beside.as_deref()).unwrap_or("nothing")
}

fn told(error: impl core::fmt::Display) -> anyhow::Error {
    anyhow!("the picture: {error}")
}
