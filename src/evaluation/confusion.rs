//! How far two models, or a model and labels, mean the same classes.

use ndarray::{ArrayD, Axis};
use serde::Serialize;

use super::layout::Layout;

/// Classes from this one on have no overlaps.
const MOST_CLASSES: u32 = 1 << 16;

/// Intersections over unions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Overlap {
    /// Of what either takes for a class, the part that both do; averaged over the classes that occur.
    pub mean_iou: f64,
    /// How many occur.
    pub classes: usize,
}

/// How often each class is meant.
#[derive(Clone, Debug, Default)]
pub struct Confusion {
    /// For each class, how often the one means it, the other, and both.
    counts: Vec<[u64; 3]>,
    same: u64,
    all: u64,
}

impl Confusion {
    /// Of two outputs, their samples along the first axis; `None` where they tell of no classes.
    pub fn of(expected: &ArrayD<f32>, actual: &ArrayD<f32>, layout: Layout) -> Option<Self> {
        layout.unit()?;
        let mut confusion = Confusion::default();
        for (expected, actual) in expected.axis_iter(Axis(0)).zip(actual.axis_iter(Axis(0))) {
            confusion.add(&layout.classes(&expected), &layout.classes(&actual));
        }
        Some(confusion)
    }

    /// Adds what stands at the same place. What has no class in `expected` is not counted among the overlaps.
    pub fn add(&mut self, expected: &[Option<u32>], actual: &[Option<u32>]) {
        for (expected, actual) in expected.iter().zip(actual) {
            self.all += 1;
            let Some(class) = expected else { continue };
            self.count(*class, 0);
            actual.iter().for_each(|other| self.count(*other, 1));
            if actual == &Some(*class) {
                self.count(*class, 2);
                self.same += 1;
            }
        }
    }

    fn count(&mut self, class: u32, what: usize) {
        if class >= MOST_CLASSES {
            return;
        }
        let class = class as usize;
        if self.counts.len() <= class {
            self.counts.resize(class + 1, [0; 3]);
        }
        self.counts[class][what] += 1;
    }

    /// Percent of all that both take for the same class.
    pub fn agreement_percent(&self) -> f64 {
        100.0 * self.same as f64 / self.all as f64
    }

    /// `None` where there is no class.
    pub fn overlap(&self) -> Option<Overlap> {
        let union = |[one, other, both]: &[u64; 3]| one + other - both;
        let ratios: Vec<f64> =
            self.counts.iter().filter(|counts| union(counts) > 0).map(|counts| counts[2] as f64 / union(counts) as f64).collect();
        (!ratios.is_empty()).then(|| Overlap { mean_iou: ratios.iter().sum::<f64>() / ratios.len() as f64, classes: ratios.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Unit;
    use super::*;

    #[test]
    fn agreement_counts_all_and_overlaps_count_each_class_alike() {
        let mut confusion = Confusion::default();
        confusion.add(&[Some(0), Some(0), Some(0), Some(2)], &[Some(0), Some(0), Some(2), Some(2)]);
        assert_eq!(confusion.agreement_percent(), 75.0);
        assert_eq!(confusion.overlap(), Some(Overlap { mean_iou: (2.0 / 3.0 + 0.5) / 2.0, classes: 2 }));
    }

    #[test]
    fn what_is_no_number_never_agrees_and_what_has_no_label_is_not_counted() {
        let mut confusion = Confusion::default();
        confusion.add(&[None, Some(1), Some(1), Some(1)], &[Some(0), None, Some(1), Some(1)]);
        assert_eq!(confusion.agreement_percent(), 50.0);
        assert_eq!(confusion.overlap(), Some(Overlap { mean_iou: 2.0 / 3.0, classes: 1 }));
        assert_eq!(Confusion::default().overlap(), None);
        let mut many = Confusion::default();
        many.add(&[Some(1_000_000)], &[Some(1_000_000)]);
        assert_eq!((many.agreement_percent(), many.overlap()), (100.0, None));
    }

    #[test]
    fn classes_are_told_of_each_position() {
        let array = |numbers: &[f32]| ArrayD::from_shape_vec(vec![1, 1, 2, 3], numbers.to_vec()).unwrap();
        let (one, other) = (array(&[1.0, 2.0, 3.0, 3.0, 2.0, 1.0]), array(&[1.0, 2.0, 4.0, 2.0, 3.0, 1.0]));
        let found = |layout| Confusion::of(&one, &other, layout).map(|confusion| confusion.agreement_percent());
        assert_eq!(found(Layout::Scores { axis: 2, unit: Unit::Positions }), Some(50.0));
        assert_eq!(found(Layout::Labels { unit: Unit::Positions }), Some(50.0));
        assert_eq!(found(Layout::Numbers), None);
    }
}
