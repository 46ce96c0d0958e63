//! Parts of an output whose numbers are of another size than the others, as scores beside boxes: the noise of the large ones
//! hides that of the small ones where all are measured together.

use ndarray::{ArrayD, Axis};
use serde::Serialize;

use super::metrics::decibels;

/// How many times larger numbers are that are of another kind.
const APART: f64 = 16.0;
/// The same where the output has the shape of scores: logits of classes may be 16 times larger than others.
const FAR_APART: f64 = 256.0;
/// Numbers of a channel from which its size is told.
const FEWEST: usize = 16;

/// Channels of one output whose numbers are of one size.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Part {
    /// Axis of the channels in the shape of one sample.
    pub axis: usize,
    /// The first channel of each run, and the one behind its last.
    pub channels: Vec<(usize, usize)>,
    /// Greatest magnitude in the reference.
    pub peak: f64,
    pub sqnr_db: f64,
}

impl std::fmt::Display for Part {
    /// `channels 0..4, 5..15`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let runs: Vec<String> = self.channels.iter().map(|(first, end)| format!("{first}..{end}")).collect();
        write!(f, "channels {}", runs.join(", "))
    }
}

/// The parts of an output, its samples along the first axis; none where all channels are of one size. Numbers of magnitude 1 and
/// less are of one kind, however small: scores of classes that no sample shows are.
pub fn parts(reference: &ArrayD<f32>, candidate: &ArrayD<f32>, looks_like_scores: bool) -> Vec<Part> {
    let least = if looks_like_scores { FAR_APART } else { APART };
    let rank = reference.ndim();
    let mut axes: Vec<usize> = if rank < 3 { Vec::new() } else { vec![2, rank - 1] };
    axes.dedup();
    let found = axes.into_iter().filter_map(|axis| Some((axis, kinds(&peaks(reference, axis)?, least)?)));
    let Some((axis, kinds)) = found.min_by_key(|(axis, _)| reference.len_of(Axis(*axis))) else { return Vec::new() };
    let count = kinds.iter().max().map_or(0, |last| last + 1);
    (0..count).map(|kind| part(reference, candidate, axis, &kinds, kind)).collect()
}

/// Greatest magnitude of each channel; `None` where there are too few numbers, or some are none.
fn peaks(reference: &ArrayD<f32>, axis: usize) -> Option<Vec<f64>> {
    let channels = reference.len_of(Axis(axis));
    if channels < 2 || reference.len() / channels < FEWEST || reference.iter().any(|x| !x.is_finite()) {
        return None;
    }
    let peak = |channel: ndarray::ArrayViewD<'_, f32>| f64::from(channel.iter().fold(0.0f32, |most, x| most.max(x.abs())));
    Some(reference.axis_iter(Axis(axis)).map(peak).collect())
}

/// For each channel the number of its kind, that of the largest first; `None` where there is one kind.
fn kinds(peaks: &[f64], apart: f64) -> Option<Vec<usize>> {
    let mut sorted: Vec<f64> = peaks.iter().copied().filter(|peak| *peak > 0.0).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let cuts: Vec<f64> = sorted.windows(2).filter(|pair| pair[0] > 1.0 && pair[0] >= apart * pair[1]).map(|pair| pair[1]).collect();
    (!cuts.is_empty()).then(|| peaks.iter().map(|peak| cuts.iter().filter(|cut| peak <= cut).count()).collect())
}

fn part(reference: &ArrayD<f32>, candidate: &ArrayD<f32>, axis: usize, kinds: &[usize], kind: usize) -> Part {
    let (mut signal, mut noise, mut peak) = (0.0, 0.0, 0.0f64);
    let mut channels: Vec<(usize, usize)> = Vec::new();
    for channel in (0..kinds.len()).filter(|channel| kinds[*channel] == kind) {
        match channels.last_mut() {
            Some((_, end)) if *end == channel => *end += 1,
            _ => channels.push((channel, channel + 1)),
        }
        for (r, c) in reference.index_axis(Axis(axis), channel).iter().zip(candidate.index_axis(Axis(axis), channel)) {
            let (r, c) = (f64::from(*r), f64::from(*c));
            signal += r * r;
            noise += (r - c) * (r - c);
            peak = peak.max(r.abs());
        }
    }
    Part { axis: axis - 1, channels, peak, sqnr_db: decibels(signal, noise) }
}

#[cfg(test)]
mod tests {
    use ndarray::IxDyn;

    use super::*;

    /// `[samples, 1, channels, 32]` whose channels reach these magnitudes.
    fn output(peaks: &[f32]) -> ArrayD<f32> {
        let element = |i: IxDyn| if i[3] == 0 { peaks[i[2]] } else { peaks[i[2]] * (0.1 + ((7 * i[3] + i[0]) % 10) as f32 / 20.0) };
        ArrayD::from_shape_fn(IxDyn(&[2, 1, peaks.len(), 32]), element)
    }

    /// Rounded as one 8-bit quantizer does.
    fn rounded(output: &ArrayD<f32>) -> ArrayD<f32> {
        let step = output.iter().fold(0.0f32, |most, x| most.max(*x)) / 255.0;
        output.mapv(|x| (x / step).round() * step)
    }

    #[test]
    fn scores_beside_boxes_are_a_part_of_their_own_and_lost_in_eight_bits() {
        let reference = output(&[600.0, 500.0, 640.0, 400.0, 0.9, 0.001, 0.8]);
        let found = parts(&reference, &rounded(&reference), false);
        assert_eq!(found.iter().map(Part::to_string).collect::<Vec<_>>(), ["channels 0..4", "channels 4..7"]);
        assert!(found[0].sqnr_db > 40.0 && found[1].sqnr_db < 3.0, "{found:?}");
        assert_eq!((found[1].axis, found[1].peak as f32), (1, 0.9));
    }

    #[test]
    fn runs_of_one_kind_may_lie_apart_and_along_either_axis() {
        let mixed = output(&[600.0, 0.9, 500.0, 0.5]);
        let found = parts(&mixed, &mixed, false);
        assert_eq!(found.iter().map(Part::to_string).collect::<Vec<_>>(), ["channels 0..1, 2..3", "channels 1..2, 3..4"]);
        let last = mixed.permuted_axes(IxDyn(&[0, 1, 3, 2])).as_standard_layout().into_owned();
        assert_eq!(parts(&last, &last, false)[0].axis, 2);
    }

    #[test]
    fn outputs_of_one_kind_have_no_parts() {
        let cases: [&[f32]; 4] = [&[1.0, 0.9, 1e-5, 0.2], &[9.0, 3.0, 1.0], &[640.0, 0.0], &[5.0]];
        for peaks in cases {
            let output = output(peaks);
            assert_eq!(parts(&output, &output, false), [], "{peaks:?}");
        }
        let logits = output(&[20.0, 1.0]);
        assert_eq!((parts(&logits, &logits, true).len(), parts(&logits, &logits, false).len()), (0, 2));
    }
}
