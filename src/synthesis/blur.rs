//! Gaussian blur of a plane.

/// A separable Gaussian kernel. At the border pixels are mirrored (d c b a | a b c d), which makes the blur its own adjoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Blur {
    /// Centre first; the two sides are alike.
    weights: Vec<f32>,
}

impl Blur {
    /// Standard deviation in pixels; cut off at two of them.
    pub fn new(deviation: f32) -> Self {
        let reach = (2.0 * deviation).ceil() as usize;
        let weights: Vec<f32> = (0..=reach).map(|at| (-0.5 * (at as f32 / deviation).powi(2)).exp()).collect();
        let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f32>();
        Blur { weights: weights.iter().map(|weight| weight / sum).collect() }
    }

    /// Blurs row-major `pixels` in place.
    pub fn apply(&self, pixels: &mut [f32], width: usize) {
        if width == 0 {
            return;
        }
        let height = pixels.len() / width;
        let mut line = vec![0.0; width.max(height)];
        for row in 0..height {
            self.blur_line(pixels, row * width, 1, &mut line[..width]);
        }
        for column in 0..width {
            self.blur_line(pixels, column, width, &mut line[..height]);
        }
    }

    /// What blurs lines of `size` numbers: `[size, size]`, row-major and symmetric.
    #[cfg(feature = "candle")]
    pub fn matrix(&self, size: usize) -> Vec<f32> {
        let (mut matrix, mut line) = (vec![0.0; size * size], vec![0.0; size]);
        (0..size).for_each(|at| matrix[at * size + at] = 1.0);
        (0..size).for_each(|row| self.blur_line(&mut matrix, row * size, 1, &mut line));
        matrix
    }

    fn blur_line(&self, pixels: &mut [f32], start: usize, stride: usize, line: &mut [f32]) {
        line.iter_mut().enumerate().for_each(|(at, x)| *x = pixels[start + at * stride]);
        let mirrored = |at: isize| {
            let turn = at.rem_euclid(2 * line.len() as isize) as usize;
            line[turn.min(2 * line.len() - 1 - turn)]
        };
        for at in 0..line.len() {
            let sides = |distance: usize| mirrored(at as isize - distance as isize) + mirrored((at + distance) as isize);
            let sides = self.weights.iter().enumerate().skip(1).map(|(distance, weight)| weight * sides(distance));
            pixels[start + at * stride] = self.weights[0] * line[at] + sides.sum::<f32>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn keeps_the_mean_and_takes_the_edges() {
        let mut random = Random::new(1, 0);
        let sharp: Vec<f32> = (0..63).map(|_| random.uniform()).collect();
        let mut soft = sharp.clone();
        Blur::new(1.5).apply(&mut soft, 9);
        let mean = |pixels: &[f32]| pixels.iter().sum::<f32>() / pixels.len() as f32;
        let variance = |pixels: &[f32]| pixels.iter().map(|x| (x - mean(pixels)).powi(2)).sum::<f32>();
        assert!((mean(&sharp) - mean(&soft)).abs() < 1e-5);
        assert!(variance(&soft) < 0.3 * variance(&sharp));
    }

    #[test]
    fn is_its_own_adjoint() {
        let mut random = Random::new(2, 0);
        let mut draw = || (0..20).map(|_| random.normal()).collect::<Vec<f32>>();
        let (a, b) = (draw(), draw());
        let blurred = |of: &[f32]| {
            let mut of = of.to_vec();
            Blur::new(2.0).apply(&mut of, 4);
            of
        };
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        assert!((dot(&blurred(&a), &b) - dot(&a, &blurred(&b))).abs() < 1e-4);
    }
}
