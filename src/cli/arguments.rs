//! Flags that commands share.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, ValueEnum};

use super::device::DeviceChoice;
use super::method::MethodArguments;
use crate::error::Error;
use crate::kernels::Isa;
use crate::limits::{self, Limits};
use crate::synthesis::input_range::{InputRange, PixelRange};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArguments {
    /// Show warnings and errors only; twice: errors only
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "verbose")]
    pub quiet: u8,
    /// Show more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colors on stderr; auto obeys NO_COLOR and CLICOLOR_FORCE
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Print the result as one JSON value on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Number of threads [default: all cores]; the result does not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Most memory to take, as in 512M or 2Gi: samples and activations are held within it, or the work is refused before it
    /// begins; the result does not depend on it [default: what the system has or allows]
    #[arg(hide_short_help = true, long, global = true, value_name = "BYTES", value_parser = limits::parse_amount)]
    pub max_memory: Option<u64>,
    /// Instruction set: auto, portable, avx2 or avx512; results differ in the last bits between sets
    #[arg(hide_short_help = true, long, global = true, value_name = "SET", default_value = "auto", value_parser = Isa::from_str)]
    pub isa: Isa,
    /// Where images are synthesized and networks tuned: auto (a card, if this binary can use one and it answers), cpu, cuda,
    /// cuda:N or metal; results differ a little between devices
    #[arg(long, global = true, value_name = "DEVICE", default_value = "auto", value_parser = DeviceChoice::from_str)]
    pub device: DeviceChoice,
    /// CUDA cards that share the samples of every batch, as in --devices 0,1
    #[arg(hide_short_help = true, long, global = true, value_name = "NUMBERS", value_delimiter = ',', value_parser = card_number)]
    pub devices: Vec<usize>,
    /// Let convolutions on a card compute in full single precision instead of TF32
    #[arg(hide_short_help = true, long, global = true)]
    pub full_precision: bool,
    #[arg(hide_short_help = true, long = "limit", global = true, value_name = "NAME=VALUE", value_parser = LimitSetting::from_str, help = limit_help())]
    pub limits: Vec<LimitSetting>,
}

impl GlobalArguments {
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for LimitSetting { name, value } in &self.limits {
            // The name was found when the flag was read.
            let _ = limits.set(name, *value);
        }
        limits
    }
}

fn card_number(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number < 64).ok_or_else(|| "expected numbers of cards from 0 to 63, as in 0,1".to_string())
}

fn limit_help() -> String {
    format!("What a file may ask for before it is refused, as in --limit file-bytes=4G; may be repeated:{}", limits::listing())
}

/// A limit that the user sets.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitSetting {
    pub name: String,
    pub value: u64,
}

impl FromStr for LimitSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, as in nodes=2M")?;
        let value = limits::parse_amount(value)?;
        Limits::default().set(name, value)?;
        Ok(LimitSetting { name: name.to_string(), value })
    }
}

/// What is made of a model's inputs: the same flags for every command that synthesizes.
#[derive(Args, Clone, Debug, Default)]
pub struct ImageArguments {
    /// How images are made: a recipe by its name (--help lists them), or a file with one flag per line; flags of the command
    /// line win [default: default]
    #[arg(long, value_name = "NAME|FILE")]
    pub recipe: Option<String>,
    /// The same network with its BatchNormalization kept, where the model has it folded: images are matched to the statistics
    /// of this file
    #[arg(long, value_name = "FILE")]
    pub stats_from: Option<PathBuf>,
    /// Values that pixels 0..255 become: auto, unit (0,1), signed (-1,1), byte (0,255), imagenet, caffe, or LO,HI for all channels
    /// or for each, as in --input-range=-124,27; of one input with its name in front, as in --input-range depth=0,10; may be
    /// repeated [default: auto]
    #[arg(long, value_name = "[NAME=]RANGE", allow_hyphen_values = true, value_parser = InputRange::from_str)]
    pub input_range: Vec<InputRange>,
    /// Refuse an input whose range would have to be guessed: neither said nor told by the statistics beyond doubt
    #[arg(hide_short_help = true, long)]
    pub require_range: bool,
    /// Means of the channels that pixels 0..1 are freed of, as in --mean 0.485,0.456,0.406; with --std another way to say
    /// --input-range
    #[arg(hide_short_help = true, long, value_name = "NUMBERS", value_delimiter = ',', allow_hyphen_values = true, requires = "std", conflicts_with = "input_range", value_parser = channel_number)]
    pub mean: Vec<f32>,
    /// Standard deviations of the channels that pixels 0..1 are then divided by, as in --std 0.229,0.224,0.225
    #[arg(hide_short_help = true, long, value_name = "NUMBERS", value_delimiter = ',', requires = "mean", value_parser = channel_number)]
    pub std: Vec<f32>,
    /// Shape of an input whose sizes the model leaves open, as in --shape input=1x3x224x224; may be repeated
    #[arg(long = "shape", value_name = "NAME=SIZES", value_parser = InputShape::from_str)]
    pub shapes: Vec<InputShape>,
    /// Number of images to synthesize, or to take of those given [default: chosen from the model]
    #[arg(short = 'n', long, value_name = "N", value_parser = count_parser(1, 65_536))]
    pub images: Option<usize>,
    /// Optimization steps of the synthesis [default: chosen from the model]
    #[arg(long, value_name = "N", value_parser = count_parser(1, 10_000_000))]
    pub steps: Option<usize>,
    /// Where randomness starts; the same seed gives the same bytes [default: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Refuse a model without BatchNormalization, for which images say less
    #[arg(long)]
    pub require_bn: bool,
    #[command(flatten)]
    pub method: MethodArguments,
}

/// A flag, and whether it is said.
pub type Flag = (&'static str, bool);

/// The first of `flags` that is said.
pub fn first_said(flags: impl IntoIterator<Item = Flag>) -> Option<&'static str> {
    flags.into_iter().find(|(_, said)| *said).map(|(name, _)| name)
}

impl ImageArguments {
    /// Refuses what says how images are made where `flag` gives them at `path`.
    ///
    /// # Errors
    /// If something does.
    pub fn refuse_beside(&self, flag: &str, path: Option<&Path>) -> Result<(), Error> {
        match first_said([("--recipe", self.recipe.is_some()), ("--stats-from", self.stats_from.is_some())]).filter(|_| path.is_some()) {
            Some(name) => Err(Error::Usage(format!("{name} is for images that are made, {flag} gives them: use one of the two"))),
            None => Ok(()),
        }
    }

    /// With the range that `--mean` and `--std` say, if they do.
    ///
    /// # Errors
    /// If they say none.
    pub fn with_range(mut self) -> Result<ImageArguments, Error> {
        if !self.mean.is_empty() {
            let range =
                PixelRange::normalized(&self.mean, &self.std).map_err(|reason| Error::Usage(format!("--mean and --std: {reason}")))?;
            self.input_range = vec![InputRange::given(range)];
        }
        Ok(self)
    }

    /// What is said of the ranges of the inputs, the last first.
    pub fn ranges(&self) -> InputRange {
        let said = self.input_range.iter().cloned().fold(InputRange::default(), InputRange::and);
        said.requiring(self.require_range)
    }

    /// What is not said here is as `recipe` says.
    pub fn or(&self, recipe: &ImageArguments) -> ImageArguments {
        let shapes = if self.shapes.is_empty() { &recipe.shapes } else { &self.shapes };
        ImageArguments {
            recipe: self.recipe.clone(),
            stats_from: self.stats_from.clone(),
            input_range: [&recipe.input_range[..], &self.input_range].concat(),
            require_range: self.require_range || recipe.require_range,
            mean: Vec::new(),
            std: Vec::new(),
            shapes: shapes.clone(),
            images: self.images.or(recipe.images),
            steps: self.steps.or(recipe.steps),
            seed: self.seed.or(recipe.seed),
            require_bn: self.require_bn || recipe.require_bn,
            method: self.method.or(&recipe.method),
        }
    }
}

/// A clap parser of whole numbers within `least..=most`.
pub fn count_parser(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text: &str| match text.parse::<usize>() {
        Ok(count) if (least..=most).contains(&count) => Ok(count),
        _ => Err(format!("expected a whole number from {least} to {most}")),
    }
}

/// A clap parser of finite numbers within `least..=most`.
pub fn number_parser(least: f64, most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text: &str| match text.parse::<f64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {least} to {most}")),
    }
}

fn channel_number(text: &str) -> Result<f32, String> {
    text.trim().parse::<f32>().ok().filter(|number| number.is_finite()).ok_or("expected a number for each channel".into())
}

/// A clap parser of the names of `all`.
pub fn choice_parser<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
    description: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let values = all.iter().map(|choice| PossibleValue::new(name(*choice)).help(description(*choice)));
    PossibleValuesParser::new(values)
        .try_map(move |text: String| all.iter().copied().find(|choice| name(*choice) == text).ok_or("unknown name"))
}

/// Shape that the user gives to an input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputShape {
    pub name: String,
    pub shape: Vec<usize>,
}

const MAX_RANK: usize = 8;
const MAX_ELEMENTS: usize = 1 << 31;

impl FromStr for InputShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected NAME=SIZES, as in input=1x3x224x224".to_string();
        let (name, sizes) = text.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
        let sizes = sizes.split(['x', ',']).map(|size| size.trim().parse().ok().filter(|size| *size > 0));
        let shape = sizes.collect::<Option<Vec<usize>>>().filter(|shape| shape.len() <= MAX_RANK).ok_or_else(wrong)?;
        let elements = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        elements.filter(|elements| *elements <= MAX_ELEMENTS).ok_or("one sample would have more than 2^31 elements")?;
        Ok(InputShape { name: name.to_string(), shape })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_name_their_input() {
        let parse = |text: &str| text.parse::<InputShape>();
        assert_eq!(parse("a=b=1x3x8"), Ok(InputShape { name: "a=b".into(), shape: vec![1, 3, 8] }));
        assert_eq!(parse("x:0=1,49").map(|input| input.shape), Ok(vec![1, 49]));
        for text in ["", "=1", "x", "x=", "x=0", "x=-1", "x=1xy", "x=99999999999x99999999999", "x=1x1x1x1x1x1x1x1x1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_stay_within_bounds() {
        assert_eq!(count_parser(1, 9)("9"), Ok(9));
        assert!(count_parser(1, 9)("0").is_err() && count_parser(1, 9)("-1").is_err() && count_parser(1, 9)("1e9").is_err());
        assert!(number_parser(0.0, 100.0)("nan").is_err() && number_parser(0.0, 100.0)("101").is_err());
    }
}
