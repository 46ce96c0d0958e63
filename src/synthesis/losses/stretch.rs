use crate::synthesis::loss::OutputLoss;

/// Least minus greatest score: the output is to use its whole range, which no statistics speak for behind the last
/// BatchNormalization.
///
/// Paper: Ilan et al. 2023 (Data Generation for Hardware-friendly quantization), arXiv:2310.05613, section 3.3, output
/// distribution stretching.
#[derive(Debug)]
pub struct Stretch;

impl OutputLoss for Stretch {
    fn name(&self) -> &'static str {
        "stretch"
    }

    fn distance(&self, scores: &[f32], _: usize, gradient: &mut [f32]) -> f64 {
        gradient.fill(0.0);
        let least = (0..scores.len()).min_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        let greatest = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        let (Some(least), Some(greatest)) = (least, greatest) else { return 0.0 };
        gradient[least] += 1.0;
        gradient[greatest] -= 1.0;
        f64::from(scores[least] - scores[greatest])
    }
}
