//! What all readings of boxes share.

use ndarray::{ArrayView1, ArrayView2, ArrayViewD, Axis, Ix2};

use super::detected::Detected;

/// An output of a detector.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    pub name: &'a str,
    /// Of its first sample.
    pub shape: Vec<usize>,
    pub is_integer: bool,
}

/// What one sample gave, output by output.
pub type Views<'a> = Vec<ArrayViewD<'a, f32>>;

/// Scores below this are not looked at.
pub const LEAST_SCORE: f32 = 0.001;

/// `[N, K]` without leading axes of size 1; no rows where there is nothing.
///
/// # Errors
/// If there are others, or fewer than `columns` in a row.
pub fn matrix<'a>(view: &'a ArrayViewD<'_, f32>, columns: usize) -> Result<ArrayView2<'a, f32>, String> {
    let shape = view.shape().to_vec();
    let wrong = || format!("an output of shape {shape:?} is no list of boxes of one picture, {columns} numbers of each at least");
    if view.is_empty() {
        return ArrayView2::from_shape((0, columns), &[]).map_err(|_| wrong());
    }
    let mut view = view.view();
    while view.ndim() > 2 && view.shape()[0] == 1 {
        view = view.index_axis_move(Axis(0), 0);
    }
    view.into_dimensionality::<Ix2>().ok().filter(|matrix| matrix.ncols() >= columns).ok_or_else(wrong)
}

/// The first four numbers.
pub fn corners_of(row: &ArrayView1<'_, f32>) -> [f32; 4] {
    [row[0], row[1], row[2], row[3]]
}

/// The class of the greatest score, and that score.
pub fn best(scores: impl Iterator<Item = f32>) -> Option<(u32, f32)> {
    scores.enumerate().max_by(|(i, a), (j, b)| a.total_cmp(b).then(j.cmp(i))).map(|(class, score)| (class as u32, score))
}

/// Whether a box can be drawn and has a score to speak of.
pub fn is_sound(found: &Detected) -> bool {
    found.score >= LEAST_SCORE && found.corners.iter().all(|side| side.is_finite())
}

/// # Errors
/// Names the output if `numbers` are no probabilities.
pub fn check_probabilities(name: &str, numbers: impl Iterator<Item = f32>) -> Result<(), String> {
    let (low, high) = numbers.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), x| (x.min(low), x.max(high)));
    if low < -0.01 || high > 1.01 {
        return Err(format!("what should be probabilities in output `{name}` reaches from {low} to {high}"));
    }
    Ok(())
}
