//! Images that need no model: random opaque discs of all sizes, one over another, have edges, flat parts and the 1/f
//! spectrum of photographs.
//!
//! Paper: Lee, Mumford, Huang 2001, "Occlusion models for natural images".

use crate::random::Random;

/// One image `[channels, height, width]` with values in `[0, 1]`.
pub fn dead_leaves(channels: usize, height: usize, width: usize, random: &mut Random) -> Vec<f32> {
    let area = height * width;
    let mut image = vec![0.0f32; channels * area];
    let mut covered = vec![false; area];
    let mut left = area;
    let largest = 0.5 * height.max(width) as f32;
    let smallest = (largest / 16.0).clamp(0.7, 2.0);
    let backdrop = colour(channels, random);
    for _ in 0..20 * area {
        if left * 200 < area {
            break;
        }
        // Radii with density r^-3, by inversion.
        let u = random.uniform();
        let radius = 1.0 / ((1.0 - u) / (smallest * smallest) + u / (largest * largest)).sqrt();
        let (cy, cx) = (random.between(0.0, height as f32), random.between(0.0, width as f32));
        let leaf = Leaf { cy, cx, radius, colour: colour(channels, random), slope: [random.normal() * 0.1, random.normal() * 0.1] };
        left -= leaf.paint(&mut image, &mut covered, height, width);
    }
    for (pixel, _) in covered.iter().enumerate().filter(|(_, covered)| !**covered) {
        for (channel, value) in backdrop.iter().enumerate() {
            image[channel * area + pixel] = *value;
        }
    }
    image
}

struct Leaf {
    cy: f32,
    cx: f32,
    radius: f32,
    colour: Vec<f32>,
    /// Shading across the disc, per radius.
    slope: [f32; 2],
}

impl Leaf {
    /// Paints what nothing covers yet (leaves fall from behind); returns the number of new pixels.
    fn paint(&self, image: &mut [f32], covered: &mut [bool], height: usize, width: usize) -> usize {
        let span = |centre: f32, size: usize| {
            let low = (centre - self.radius).ceil().max(0.0) as usize;
            low..((centre + self.radius).floor() as usize + 1).min(size)
        };
        let area = height * width;
        let mut painted = 0;
        for y in span(self.cy, height) {
            for x in span(self.cx, width) {
                let (dy, dx) = ((y as f32 - self.cy) / self.radius, (x as f32 - self.cx) / self.radius);
                if dy * dy + dx * dx > 1.0 || covered[y * width + x] {
                    continue;
                }
                covered[y * width + x] = true;
                painted += 1;
                let shade = self.slope[0] * dy + self.slope[1] * dx;
                for (channel, value) in self.colour.iter().enumerate() {
                    image[channel * area + y * width + x] = (value + shade).clamp(0.0, 1.0);
                }
            }
        }
        painted
    }
}

/// Grey level uniform, hue weak: as in photographs, channels are strongly correlated.
fn colour(channels: usize, random: &mut Random) -> Vec<f32> {
    let grey = random.uniform();
    (0..channels).map(|_| (grey + 0.12 * random.normal()).clamp(0.0, 1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_the_range_and_differs_by_seed() {
        let draw = |stream| dead_leaves(3, 24, 17, &mut Random::new(1, stream));
        let image = draw(0);
        assert_eq!(image.len(), 3 * 24 * 17);
        assert!(image.iter().all(|x| (0.0..=1.0).contains(x)));
        let mean = image.iter().sum::<f32>() / image.len() as f32;
        let variance = image.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / image.len() as f32;
        assert!((0.2..0.8).contains(&mean) && variance > 0.01, "{mean} {variance}");
        assert_eq!(draw(0), draw(0));
        assert_ne!(draw(0), draw(1));
    }
}
