//! Which numbers a picture becomes at the network's input.

use std::str::FromStr;

/// The least and the greatest value of each channel: pixels 0 and 255.
pub type Bounds = Vec<(f32, f32)>;

/// How the pixels 0..=255 of a picture are mapped, linearly, to the values of an input.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum InputRange {
    /// Found from the model.
    #[default]
    Auto,
    /// 0 to 1.
    Unit,
    /// −1 to 1.
    Signed,
    /// 0 to 255.
    Byte,
    /// 0 to 1, less the mean of ImageNet and divided by its standard deviation: three channels, RGB.
    Imagenet,
    /// One pair for all channels, or one pair each.
    Fixed(Bounds),
}

const IMAGENET: [(f32, f32); 3] = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)];

impl InputRange {
    /// The bounds of each of `channels`; `None` for [`InputRange::Auto`].
    ///
    /// # Errors
    /// If the range is given for another number of channels.
    pub fn bounds(&self, channels: usize) -> Result<Option<Bounds>, String> {
        let pairs: Bounds = match self {
            InputRange::Auto => return Ok(None),
            InputRange::Unit => vec![(0.0, 1.0)],
            InputRange::Signed => vec![(-1.0, 1.0)],
            InputRange::Byte => vec![(0.0, 255.0)],
            InputRange::Imagenet => IMAGENET.iter().map(|(mean, deviation)| (-mean / deviation, (1.0 - mean) / deviation)).collect(),
            InputRange::Fixed(pairs) => pairs.clone(),
        };
        match pairs.len() {
            1 => Ok(Some(vec![pairs[0]; channels])),
            count if count == channels => Ok(Some(pairs)),
            count => Err(format!("the input range is for {count} channels, but the input has {channels}")),
        }
    }
}

impl FromStr for InputRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" => InputRange::Auto,
            "unit" => InputRange::Unit,
            "signed" => InputRange::Signed,
            "byte" => InputRange::Byte,
            "imagenet" => InputRange::Imagenet,
            _ => InputRange::Fixed(parse_pairs(text)?),
        })
    }
}

fn parse_pairs(text: &str) -> Result<Bounds, String> {
    let wanted = || "expected auto, unit, signed, byte, imagenet, or LO,HI (one pair for all channels or one each)".to_string();
    let numbers = text.split(',').map(|number| number.trim().parse::<f32>().ok().filter(|n| n.is_finite()));
    let numbers = numbers.collect::<Option<Vec<f32>>>().ok_or_else(wanted)?;
    if numbers.is_empty() || numbers.len() % 2 != 0 {
        return Err(wanted());
    }
    let pairs: Bounds = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    match pairs.iter().find(|(low, high)| low >= high) {
        Some((low, high)) => Err(format!("{low},{high}: the first number must be less than the second")),
        None => Ok(pairs),
    }
}

impl std::fmt::Display for InputRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InputRange::Auto => f.write_str("auto"),
            InputRange::Unit => f.write_str("unit"),
            InputRange::Signed => f.write_str("signed"),
            InputRange::Byte => f.write_str("byte"),
            InputRange::Imagenet => f.write_str("imagenet"),
            InputRange::Fixed(pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(low, high)| format!("{low},{high}")).collect();
                f.write_str(&pairs.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["auto", "unit", "signed", "byte", "imagenet", "-124,27", "-1,1,-2,2,0,0.5"] {
            assert_eq!(text.parse::<InputRange>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_pairs_that_are_no_range() {
        for text in ["", "1", "1,2,3", "2,1", "1,1", "nan,1", "0,inf", "a,b", "0;1"] {
            assert!(text.parse::<InputRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn gives_every_channel_its_bounds() {
        assert_eq!(InputRange::Auto.bounds(3), Ok(None));
        assert_eq!(InputRange::Signed.bounds(2), Ok(Some(vec![(-1.0, 1.0); 2])));
        assert!(InputRange::Imagenet.bounds(1).is_err());
        let (low, high) = InputRange::Imagenet.bounds(3).unwrap().unwrap()[0];
        assert!((low + 2.117_904).abs() < 1e-5 && (high - 2.248_908).abs() < 1e-5);
    }
}
