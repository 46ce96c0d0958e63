//! Which choices, one for each layer, make the least noise for their size.

/// One of the things that a layer may become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    pub bits: u64,
    /// What it adds to the noise of the whole.
    pub noise: f64,
}

/// Choices for all layers that no other choices beat in both size and noise.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimum {
    pub bits: u64,
    pub noise: f64,
    /// The number of the choice for each layer.
    pub choices: Vec<usize>,
}

/// Partial sums that are kept, at most. Beyond that the best of each of so many intervals of size stay: sizes and noises stay
/// exact, but one part in so many of the size may be given away.
const MOST: usize = 1 << 14;

/// A partial sum: the one before it, and what was chosen then.
#[derive(Clone, Copy)]
struct Sum {
    bits: u64,
    noise: f64,
    before: usize,
    choice: usize,
}

/// The Pareto frontier of the sums over `layers`, from the smallest to the one of least noise: dynamic programming over the
/// layers, in which sums that another beats are dropped. A layer without choices adds nothing.
///
/// Paper: Cai et al. 2020 (ZeroQ), arXiv:2001.00281, section 3.3: noises of layers are taken to add up.
pub fn frontier(layers: &[Vec<Choice>]) -> Vec<Optimum> {
    let mut stages: Vec<Vec<Sum>> = vec![vec![Sum { bits: 0, noise: 0.0, before: 0, choice: 0 }]];
    for choices in layers {
        let none = [Choice { bits: 0, noise: 0.0 }];
        let choices = if choices.is_empty() { &none } else { choices.as_slice() };
        let last = stages.last().map(Vec::as_slice).unwrap_or_default();
        let sums = last.iter().enumerate().flat_map(|(before, sum)| {
            let add = move |(number, choice): (usize, &Choice)| Sum {
                bits: sum.bits + choice.bits,
                noise: sum.noise + choice.noise,
                before,
                choice: number,
            };
            choices.iter().enumerate().map(add)
        });
        stages.push(thin(undominated(sums.collect())));
    }
    let ends = 0..stages.last().map_or(0, Vec::len);
    ends.map(|end| trace(&stages, end)).collect()
}

/// By size, each of less noise than all before.
fn undominated(mut sums: Vec<Sum>) -> Vec<Sum> {
    sums.sort_by(|a, b| a.bits.cmp(&b.bits).then(a.noise.total_cmp(&b.noise)));
    let mut least = f64::INFINITY;
    sums.retain(|sum| {
        let better = sum.noise < least;
        least = least.min(sum.noise);
        better
    });
    sums
}

fn thin(sums: Vec<Sum>) -> Vec<Sum> {
    let (Some(first), Some(last)) = (sums.first().copied(), sums.last().copied()) else { return sums };
    if sums.len() <= MOST {
        return sums;
    }
    let interval = |sum: &Sum| (u128::from(sum.bits - first.bits) * (MOST as u128 - 1)).div_ceil(u128::from(last.bits - first.bits));
    let ends: Vec<bool> = (0..sums.len()).map(|i| sums.get(i + 1).is_none_or(|next| interval(next) != interval(&sums[i]))).collect();
    sums.into_iter().zip(ends).filter(|(_, end)| *end).map(|(sum, _)| sum).collect()
}

fn trace(stages: &[Vec<Sum>], end: usize) -> Optimum {
    let mut choices = Vec::with_capacity(stages.len());
    let mut place = end;
    for stage in stages[1..].iter().rev() {
        choices.push(stage[place].choice);
        place = stage[place].before;
    }
    choices.reverse();
    let (bits, noise) = stages.last().map_or((0, 0.0), |stage| (stage[end].bits, stage[end].noise));
    Optimum { bits, noise, choices }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn cases() -> impl Iterator<Item = Vec<Vec<Choice>>> {
        (0..40u64).map(|seed| {
            let mut random = Random::new(seed, 0);
            let layers = 1 + random.below(8);
            let choice = |random: &mut Random, width: u64, weights: u64| Choice {
                bits: width * weights,
                noise: f64::from(random.uniform()) / (1 << width) as f64,
            };
            let layer = |random: &mut Random| {
                let weights = 1 + random.below(500) as u64;
                [4, 8, 16].map(|width| choice(random, width, weights)).to_vec()
            };
            (0..layers).map(|_| layer(&mut random)).collect()
        })
    }

    /// The least noise within `budget` over all combinations.
    fn least(layers: &[Vec<Choice>], budget: u64) -> Option<f64> {
        let Some((first, rest)) = layers.split_first() else { return Some(0.0) };
        let found = first
            .iter()
            .filter(|choice| choice.bits <= budget)
            .filter_map(|choice| Some(choice.noise + least(rest, budget - choice.bits)?));
        found.min_by(f64::total_cmp)
    }

    #[test]
    fn nothing_within_a_budget_is_better_than_the_frontier() {
        for layers in cases() {
            let optima = frontier(&layers);
            let (smallest, largest) = (optima[0].bits, optima[optima.len() - 1].bits);
            for part in 0..=10 {
                let budget = smallest + (largest - smallest) * part / 10;
                let best = optima.iter().rfind(|optimum| optimum.bits <= budget).unwrap();
                let wanted = least(&layers, budget).unwrap();
                assert!((best.noise - wanted).abs() <= 1e-12, "{} instead of {wanted}", best.noise);
            }
            assert_eq!(least(&layers, smallest - 1), None);
        }
    }

    #[test]
    fn an_optimum_is_the_sum_of_its_choices() {
        for layers in cases() {
            for optimum in frontier(&layers) {
                let chosen = || optimum.choices.iter().zip(&layers).map(|(choice, layer)| layer[*choice]);
                assert_eq!(optimum.bits, chosen().map(|choice| choice.bits).sum::<u64>());
                assert!((optimum.noise - chosen().map(|choice| choice.noise).sum::<f64>()).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn many_layers_stay_within_the_limit_and_keep_both_ends() {
        let mut random = Random::new(0, 0);
        let mut layer = || {
            let weights = 1000 + random.below(100_000) as u64;
            // Noise that falls as size grows: no sum beats another.
            [4, 8, 16].map(|width| Choice { bits: width * weights, noise: ((16 - width) * weights) as f64 }).to_vec()
        };
        let layers: Vec<Vec<Choice>> = (0..40).map(|_| layer()).collect();
        let optima = frontier(&layers);
        assert!(optima.len() <= MOST && optima.len() > MOST / 2, "{}", optima.len());
        assert!(optima.is_sorted_by(|a, b| a.bits < b.bits && a.noise > b.noise));
        assert_eq!((&optima[0].choices, &optima[optima.len() - 1].choices), (&vec![0; 40], &vec![2; 40]));
    }

    #[test]
    fn layers_without_choices_add_nothing() {
        assert_eq!(frontier(&[vec![]]), [Optimum { bits: 0, noise: 0.0, choices: vec![0] }]);
        assert_eq!(frontier(&[]), [Optimum { bits: 0, noise: 0.0, choices: vec![] }]);
    }
}
