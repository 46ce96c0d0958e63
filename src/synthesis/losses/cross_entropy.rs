use crate::synthesis::loss::OutputLoss;

/// −ln softmax(scores) at a label, which is drawn at random for each image: the class's score is to grow.
///
/// Paper: Haroush et al. 2020, arXiv:1912.01274, section 3.1 (Inception), and Yin et al. 2020, arXiv:1912.08795, equation 2.
#[derive(Debug)]
pub struct CrossEntropy;

impl OutputLoss for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn distance(&self, scores: &[f32], label: usize, gradient: &mut [f32]) -> f64 {
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = scores.iter().map(|x| f64::from(x - largest).exp()).sum();
        for (class, (g, x)) in gradient.iter_mut().zip(scores).enumerate() {
            *g = (f64::from(x - largest).exp() / sum) as f32 - f32::from(u8::from(class == label));
        }
        sum.ln() - f64::from(scores[label] - largest)
    }
}
