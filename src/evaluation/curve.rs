//! How a loss went, in few points.

/// Points that a curve has at most.
const POINTS: usize = 200;

/// The losses of one stage, in groups of equally many steps; the groups grow with the stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    pub stage: String,
    /// Losses that are summed in each group.
    per_group: usize,
    groups: Vec<f64>,
    /// Losses in the last group.
    last: usize,
}

impl Curve {
    /// Adds the loss of the next step.
    pub fn add(&mut self, loss: f64) {
        if self.groups.is_empty() {
            (self.per_group, self.last) = (1, 1);
            return self.groups.push(loss);
        }
        if self.last == self.per_group && self.groups.len() == POINTS {
            self.groups = self.groups.chunks(2).map(|pair| pair.iter().sum()).collect();
            self.per_group *= 2;
            self.last = self.per_group;
        }
        if self.last == self.per_group {
            self.groups.push(0.0);
            self.last = 0;
        }
        self.groups.iter_mut().last().into_iter().for_each(|group| *group += loss);
        self.last += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Steps that told a loss.
    pub fn steps(&self) -> usize {
        self.groups.len().saturating_sub(1) * self.per_group + self.last
    }

    /// The first step of each group, and its mean loss.
    pub fn points(&self) -> Vec<(usize, f64)> {
        let end = self.groups.len().saturating_sub(1);
        let count = |index: usize| if index == end { self.last } else { self.per_group };
        self.groups.iter().enumerate().map(|(index, sum)| (index * self.per_group, sum / count(index) as f64)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_of_any_length_has_few_points_and_keeps_the_mean() {
        for steps in [0, 1, 2, 199, 200, 201, 399, 400, 401, 5000] {
            let mut curve = Curve::default();
            (0..steps).for_each(|step| curve.add(step as f64));
            let points = curve.points();
            assert!(points.len() <= POINTS && points.len() >= steps.min(POINTS / 2), "{steps}: {}", points.len());
            assert_eq!((curve.steps(), curve.is_empty()), (steps, steps == 0));
            let ends = points.iter().map(|(first, _)| *first).skip(1).chain([steps]);
            let sum: f64 = points.iter().zip(ends).map(|((first, mean), end)| mean * (end - first) as f64).sum();
            assert!((sum - (0..steps).sum::<usize>() as f64).abs() < 1e-6, "{steps}");
        }
    }
}
