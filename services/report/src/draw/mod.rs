//! From charts to drawings.

mod bars;
mod changes;
mod forest;
mod frame;
mod heat;
mod lines;
mod scale;
#[cfg(test)]
mod tests;

use crate::model::{Axis, Chart, Form};
use crate::scene::Scene;
use crate::units;

/// The drawing of a chart.
pub(crate) fn chart(chart: &Chart) -> Scene {
    match chart.form {
        Form::Lines | Form::Spectrum | Form::Timeline => lines::draw(chart),
        Form::Bars => bars::draw(chart),
        Form::Forest => forest::draw(chart),
        Form::Heat => heat::draw(chart),
    }
}

/// A place of an axis as a person reads it.
fn label(axis: &Axis, value: f64) -> String {
    axis.names.get(value.round() as usize).cloned().unwrap_or_else(|| units::figure(value, &axis.unit))
}
