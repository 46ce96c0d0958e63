//! The valid pixel range of a network's input.

use std::str::FromStr;

/// What a pixel of 0 and a pixel of 255 are to the network, per channel or (one entry) for all channels.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelRange {
    pub name: String,
    pub channels: Vec<(f32, f32)>,
}

impl PixelRange {
    pub fn uniform(name: &str, low: f32, high: f32) -> Self {
        PixelRange { name: name.to_string(), channels: vec![(low, high)] }
    }

    /// (x / 255 − mean) / std with the statistics of ImageNet.
    pub fn imagenet() -> Self {
        let (mean, std) = ([0.485f32, 0.456, 0.406], [0.229f32, 0.224, 0.225]);
        PixelRange { name: "imagenet".to_string(), channels: normalized(&mean, &std) }
    }

    /// (x / 255 − mean) / std, with a mean and a deviation for each channel.
    ///
    /// # Errors
    /// If there are not as many of both, or a deviation is not above 0.
    pub fn normalized(mean: &[f32], std: &[f32]) -> Result<Self, String> {
        if mean.len() != std.len() {
            return Err(format!("{} means and {} deviations; one of each is needed for each channel", mean.len(), std.len()));
        }
        let channels = normalized(mean, std);
        if !channels.iter().all(|(low, high)| low.is_finite() && high.is_finite() && low < high) {
            return Err("deviations must be above 0".to_string());
        }
        let name = channels.iter().map(|(low, high)| format!("{low},{high}")).collect::<Vec<_>>().join(",");
        Ok(PixelRange { name, channels })
    }

    /// The named ranges: unit, signed, byte, imagenet.
    pub fn named() -> Vec<Self> {
        vec![
            PixelRange::uniform("unit", 0.0, 1.0),
            PixelRange::uniform("signed", -1.0, 1.0),
            PixelRange::uniform("byte", 0.0, 255.0),
            PixelRange::imagenet(),
        ]
    }

    /// Low and high end for `channel`.
    pub fn of(&self, channel: usize) -> (f32, f32) {
        self.channels[channel % self.channels.len()]
    }

    /// Smallest low and largest high over the channels.
    pub fn hull(&self) -> (f32, f32) {
        let low = self.channels.iter().map(|(low, _)| *low).fold(f32::INFINITY, f32::min);
        let high = self.channels.iter().map(|(_, high)| *high).fold(f32::NEG_INFINITY, f32::max);
        (low, high)
    }

    /// Maps `[0, 1]` elements of `[channels, …]` to the range.
    pub fn scale(&self, elements: &mut [f32], channels: usize) {
        let area = elements.len() / channels.max(1);
        for (channel, plane) in elements.chunks_mut(area.max(1)).enumerate() {
            let (low, high) = self.of(channel);
            plane.iter_mut().for_each(|x| *x = low + *x * (high - low));
        }
    }
}

/// What the user says of the range.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum InputRange {
    /// Find it from the first BatchNormalization.
    #[default]
    Auto,
    Given(PixelRange),
}

impl FromStr for InputRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(InputRange::Auto);
        }
        if let Some(range) = PixelRange::named().into_iter().find(|range| range.name == text) {
            return Ok(InputRange::Given(range));
        }
        let numbers: Result<Vec<f32>, _> = text.split(',').map(|part| part.trim().parse::<f32>()).collect();
        let expected = "expected auto, unit, signed, byte, imagenet, LO,HI or LO,HI for each channel";
        let numbers = numbers.map_err(|_| expected.to_string())?;
        let pairs: Vec<(f32, f32)> = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let sound = |(low, high): &(f32, f32)| low.is_finite() && high.is_finite() && low < high;
        if pairs.is_empty() || numbers.len() % 2 != 0 || !pairs.iter().all(sound) {
            return Err(format!("{expected}, with LO < HI"));
        }
        Ok(InputRange::Given(PixelRange { name: text.to_string(), channels: pairs }))
    }
}

fn normalized(mean: &[f32], std: &[f32]) -> Vec<(f32, f32)> {
    mean.iter().zip(std).map(|(mean, std)| ((0.0 - mean) / std, (1.0 - mean) / std)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_numbers() {
        assert_eq!("auto".parse(), Ok(InputRange::Auto));
        assert_eq!("byte".parse(), Ok(InputRange::Given(PixelRange::uniform("byte", 0.0, 255.0))));
        let Ok(InputRange::Given(range)) = "-124,27".parse() else { panic!() };
        assert_eq!(range.channels, [(-124.0, 27.0)]);
        for bad in ["", "1", "2,1", "nan,1", "1,2,3", "half"] {
            assert!(bad.parse::<InputRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn means_and_deviations_say_a_range() {
        let range = PixelRange::normalized(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]).unwrap();
        assert_eq!(range.channels, PixelRange::imagenet().channels);
        assert_eq!(range.name.parse(), Ok(InputRange::Given(range.clone())));
        for (mean, std) in [(&[0.5][..], &[][..]), (&[0.5], &[0.0]), (&[0.5], &[-1.0]), (&[0.5, 0.5], &[1.0])] {
            assert!(PixelRange::normalized(mean, std).is_err());
        }
    }

    #[test]
    fn imagenet_maps_mean_to_zero() {
        let mut pixels = vec![0.485, 0.456, 0.406];
        PixelRange::imagenet().scale(&mut pixels, 3);
        assert!(pixels.iter().all(|x| x.abs() < 1e-6));
    }
}
