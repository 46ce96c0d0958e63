//! Resize of some dimensions as Resize of all of them.

use super::resize::{AspectRatio, CROP, Resize};
use crate::graph::{Dim, known_shape};

/// What the optional inputs of a Resize hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResizeLists {
    pub roi: Option<Vec<f32>>,
    pub scales: Option<Vec<f32>>,
    pub sizes: Option<Vec<i64>>,
}

/// Of all dimensions; one of the two.
type ScalesOrSizes = (Option<Vec<f32>>, Option<Vec<i64>>);

impl Resize {
    /// The same operator with lists of all dimensions of `shape`, each in turn; `None` where that cannot be written exactly.
    pub fn of_all_dimensions(&self, shape: &[Dim], lists: &ResizeLists) -> Option<(Resize, ResizeLists)> {
        let axes = self.listed(shape.len()).ok()?;
        let roi = match &lists.roi {
            Some(roi) => {
                Some([spread(shape, &axes, roi.get(..axes.len())?, 0.0), spread(shape, &axes, roi.get(axes.len()..)?, 1.0)].concat())
            }
            None => None,
        };
        let (scales, sizes) = match (&lists.scales, &lists.sizes) {
            (Some(scales), None) if scales.len() == axes.len() => (Some(spread(shape, &axes, scales, 1.0)), None),
            (None, Some(sizes)) if sizes.len() == axes.len() => self.fit_all(shape, &axes, sizes)?,
            _ => return None,
        };
        let resize = Resize { axes: None, aspect_ratio: AspectRatio::Stretch, ..self.clone() };
        Some((resize, ResizeLists { roi, scales, sizes }))
    }

    /// Scales or sizes of all dimensions that say what `sizes` say of `axes`.
    fn fit_all(&self, shape: &[Dim], axes: &[usize], sizes: &[i64]) -> Option<ScalesOrSizes> {
        let others: Vec<Dim> = shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, dim)| dim.clone()).collect();
        if self.aspect_ratio == AspectRatio::Stretch && known_shape(&others).is_some() {
            let all = shape.iter().map(|dim| dim.known().unwrap_or(0) as i64);
            let mut all: Vec<i64> = all.collect();
            axes.iter().zip(sizes).for_each(|(axis, size)| all[*axis] = *size);
            return Some((None, Some(all)));
        }
        let known = axes.iter().map(|axis| shape[*axis].known()).collect::<Option<Vec<usize>>>()?;
        let stand_in: Vec<usize> = shape.iter().map(|dim| dim.known().unwrap_or(1)).collect();
        let target = self.target(&stand_in, None, Some(sizes.to_vec())).ok().filter(|_| self.coordinates != CROP)?;
        let exact = |(axis, from): (&usize, usize)| {
            let (size, scale) = target[*axis];
            let is_exact = f64::from(scale as f32) == scale && (from as f64 * scale).floor() == size as f64;
            is_exact.then_some(scale as f32)
        };
        let scales = axes.iter().zip(known).map(exact).collect::<Option<Vec<f32>>>()?;
        Some((Some(spread(shape, axes, &scales, 1.0)), None))
    }
}

/// `values` at their `axes`, `rest` elsewhere.
fn spread(shape: &[Dim], axes: &[usize], values: &[f32], rest: f32) -> Vec<f32> {
    let mut all = vec![rest; shape.len()];
    axes.iter().zip(values).for_each(|(axis, value)| all[*axis] = *value);
    all
}
