//! The valid pixel range of a network's input.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::goal::NATURAL;

/// What a pixel of 0 and a pixel of 255 are to the network, per channel or (one entry) for all channels.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelRange {
    pub name: String,
    pub channels: Vec<(f32, f32)>,
    /// What is valid, where that is more.
    reach: Option<(f32, f32)>,
}

/// The names that `--input-range` takes.
pub const NAMES: &str = "unit, signed, byte, imagenet, caffe";

impl PixelRange {
    pub fn uniform(name: &str, low: f32, high: f32) -> Self {
        PixelRange::of_channels(name, vec![(low, high)])
    }

    /// What 0 and 255 are in each channel.
    pub fn of_channels(name: &str, channels: Vec<(f32, f32)>) -> Self {
        PixelRange { name: name.to_string(), channels, reach: None }
    }

    /// Such that pictures have these means and deviations per channel, with `reach` deviations valid to both sides.
    pub fn spread(name: &str, spreads: &[(f32, f32)], reach: f32) -> Self {
        let (middle, part) = NATURAL;
        let ends = |(mean, deviation): &(f32, f32)| (mean - middle / part * deviation, mean + (1.0 - middle) / part * deviation);
        let low = spreads.iter().map(|(mean, deviation)| mean - reach * deviation).fold(f32::INFINITY, f32::min);
        let high = spreads.iter().map(|(mean, deviation)| mean + reach * deviation).fold(f32::NEG_INFINITY, f32::max);
        PixelRange::of_channels(name, spreads.iter().map(ends).collect()).reaching(low, high)
    }

    /// With everything from `low` to `high` valid too.
    pub fn reaching(mut self, low: f32, high: f32) -> Self {
        let (least, most) = self.hull();
        if low < least || high > most {
            self.reach = Some((low.min(least), high.max(most)));
        }
        self
    }

    /// (x / 255 − mean) / std with the statistics of ImageNet.
    pub fn imagenet() -> Self {
        let (mean, std) = ([0.485f32, 0.456, 0.406], [0.229f32, 0.224, 0.225]);
        PixelRange::of_channels("imagenet", normalized(&mean, &std))
    }

    /// Blue, green, red of 0 to 255 without the means of ImageNet.
    pub fn caffe() -> Self {
        let means = [103.939f32, 116.779, 123.68];
        PixelRange::of_channels("caffe", means.iter().map(|mean| (-mean, 255.0 - mean)).collect())
    }

    /// Mean 0 and deviation 1, whatever the ends; six deviations to both sides are valid.
    pub fn standardized() -> Self {
        PixelRange::spread("standardized", &[(0.0, 1.0)], 6.0)
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
        Ok(PixelRange::of_channels(&name, channels))
    }

    /// The ranges of [`NAMES`].
    pub fn named() -> Vec<Self> {
        vec![
            PixelRange::uniform("unit", 0.0, 1.0),
            PixelRange::uniform("signed", -1.0, 1.0),
            PixelRange::uniform("byte", 0.0, 255.0),
            PixelRange::imagenet(),
            PixelRange::caffe(),
        ]
    }

    /// Low and high end for `channel`.
    pub fn of(&self, channel: usize) -> (f32, f32) {
        self.channels[channel % self.channels.len()]
    }

    /// Whether more is valid than pictures fill.
    pub fn reaches_further(&self) -> bool {
        self.reach.is_some()
    }

    /// What is valid in `channel`.
    pub fn valid(&self, channel: usize) -> (f32, f32) {
        self.reach.unwrap_or_else(|| self.of(channel))
    }

    /// Lowest and highest number that is valid.
    pub fn hull(&self) -> (f32, f32) {
        self.reach.unwrap_or_else(|| self.ends())
    }

    /// Lowest and highest pixel over all channels.
    pub fn ends(&self) -> (f32, f32) {
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

/// What the user says of the ranges of the inputs; where nothing is said, a range is searched for.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct InputRange {
    everywhere: Option<PixelRange>,
    named: BTreeMap<String, PixelRange>,
    /// Whether a range that would have to be guessed is refused.
    pub required: bool,
}

impl InputRange {
    /// The same for every input.
    pub fn given(range: PixelRange) -> Self {
        InputRange { everywhere: Some(range), ..InputRange::default() }
    }

    /// One for each of these inputs.
    pub fn each(ranges: impl IntoIterator<Item = (String, PixelRange)>) -> Self {
        InputRange { named: ranges.into_iter().collect(), ..InputRange::default() }
    }

    /// Refuses, if `required`, what would have to be guessed.
    pub fn requiring(self, required: bool) -> Self {
        InputRange { required, ..self }
    }

    /// What is said of the input `name`.
    pub fn of(&self, name: &str) -> Option<&PixelRange> {
        self.named.get(name).or(self.everywhere.as_ref())
    }

    /// The same of inputs that are called otherwise: pairs of the names here and there.
    pub fn renamed<'a>(&self, names: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let of = |(here, there): (&str, &str)| Some((there.to_string(), self.named.get(here)?.clone()));
        InputRange { named: names.filter_map(of).collect(), ..self.clone() }
    }

    /// Inputs that something is said of by their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// With what is said in `other` too, which goes first.
    pub fn and(mut self, other: InputRange) -> Self {
        self.named.extend(other.named);
        InputRange { everywhere: other.everywhere.or(self.everywhere), named: self.named, required: self.required || other.required }
    }
}

impl FromStr for InputRange {
    type Err = String;

    /// `RANGE` for all inputs or `NAME=RANGE` for one, where a range is auto, a name of [`NAMES`], or LO,HI for all channels or each.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, text) = text.rsplit_once('=').map_or((None, text), |(name, range)| (Some(name), range));
        if text == "auto" {
            return Ok(InputRange::default());
        }
        let range = read_range(text)?;
        Ok(name.map_or_else(|| InputRange::given(range.clone()), |name| InputRange::each([(name.to_string(), range.clone())])))
    }
}

fn read_range(text: &str) -> Result<PixelRange, String> {
    if let Some(range) = PixelRange::named().into_iter().find(|range| range.name == text) {
        return Ok(range);
    }
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|part| part.trim().parse::<f32>()).collect();
    let expected = format!("expected auto, {NAMES}, LO,HI or LO,HI for each channel; NAME= in front says it of one input");
    let numbers = numbers.map_err(|_| expected.clone())?;
    let pairs: Vec<(f32, f32)> = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let sound = |(low, high): &(f32, f32)| low.is_finite() && high.is_finite() && low <= high;
    if numbers.len() % 2 != 0 || !pairs.iter().all(sound) || pairs.iter().all(|(low, high)| low == high) {
        return Err(format!("{expected}, with LO < HI; LO may be HI in channels that are constant, but not in all"));
    }
    Ok(PixelRange::of_channels(text, pairs))
}

fn normalized(mean: &[f32], std: &[f32]) -> Vec<(f32, f32)> {
    mean.iter().zip(std).map(|(mean, std)| ((0.0 - mean) / std, (1.0 - mean) / std)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_numbers() {
        assert_eq!("auto".parse(), Ok(InputRange::default()));
        assert_eq!("byte".parse(), Ok(InputRange::given(PixelRange::uniform("byte", 0.0, 255.0))));
        let channels = |text: &str, input: &str| text.parse::<InputRange>().unwrap().of(input).map(|range| range.channels.clone());
        assert_eq!(channels("-124,27", "x").unwrap(), [(-124.0, 27.0)]);
        assert_eq!(channels("0,1,1,1", "x").unwrap(), [(0.0, 1.0), (1.0, 1.0)]);
        assert_eq!((channels("a=b=0,10", "a=b"), channels("a=b=0,10", "x")), (Some(vec![(0.0, 10.0)]), None));
        for bad in ["", "1", "2,1", "nan,1", "1,2,3", "1,1", "quarter", "x="] {
            assert!(bad.parse::<InputRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn means_and_deviations_say_a_range() {
        let range = PixelRange::normalized(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]).unwrap();
        assert_eq!(range.channels, PixelRange::imagenet().channels);
        assert_eq!(range.name.parse(), Ok(InputRange::given(range.clone())));
        for (mean, std) in [(&[0.5][..], &[][..]), (&[0.5], &[0.0]), (&[0.5], &[-1.0]), (&[0.5, 0.5], &[1.0])] {
            assert!(PixelRange::normalized(mean, std).is_err());
        }
    }

    #[test]
    fn what_is_said_later_and_of_one_input_goes_first() {
        let said = |text: &str| text.parse::<InputRange>().unwrap();
        let all = said("unit").and(said("depth=0,10")).and(said("byte"));
        let name = |input: &str| all.of(input).unwrap().name.clone();
        assert_eq!((name("rgb"), name("depth")), ("byte".to_string(), "0,10".to_string()));
    }

    #[test]
    fn a_range_may_reach_further_than_its_pictures() {
        let range = PixelRange::spread("estimated", &[(10.0, 2.0)], 6.0);
        assert_eq!((range.hull(), range.valid(0)), ((-2.0, 22.0), (-2.0, 22.0)));
        let mut pixels = vec![NATURAL.0, NATURAL.0 + NATURAL.1];
        range.scale(&mut pixels, 1);
        assert!((pixels[0] - 10.0).abs() < 1e-4 && (pixels[1] - 12.0).abs() < 1e-4, "{pixels:?}");
        assert_eq!(PixelRange::uniform("unit", 0.0, 1.0).reaching(0.2, 0.8).hull(), (0.0, 1.0));
    }

    #[test]
    fn imagenet_maps_mean_to_zero() {
        let mut pixels = vec![0.485, 0.456, 0.406];
        PixelRange::imagenet().scale(&mut pixels, 3);
        assert!(pixels.iter().all(|x| x.abs() < 1e-6));
    }
}
