//! Flags that say how images are made: those that a recipe is written in.

use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::arguments::{count_parser, number_parser};
use crate::error::{Error, Result};
use crate::synthesis::losses;
use crate::synthesis::method::{Assumption, Method, Pool, Start};
use crate::synthesis::sources;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StartName {
    /// Procedural pictures
    DeadLeaves,
    /// Independent normal noise
    Gaussian,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PoolName {
    /// Statistics of each batch
    Batch,
    /// Statistics of each image for itself
    Image,
    /// Statistics of a batch together with all before it
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AssumptionName {
    /// Classes for a classifier of pictures in colour, none for other such pictures, standard for all else
    Auto,
    /// Nothing: images stay as they start
    None,
    /// Mean 0 and deviation 1 at every layer
    Standard,
    /// Moments of natural pictures, computed through weights and biases
    Propagated,
    /// Smooth pictures of random classes
    Classes,
}

/// A loss and its weight, as in `smoothness=0.5`.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedLoss {
    name: String,
    weight: f64,
}

impl FromStr for WeightedLoss {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, weight) = text.split_once('=').ok_or_else(|| format!("expected NAME=WEIGHT with one of {}", loss_names().join(", ")))?;
        if !loss_names().contains(&name) {
            return Err(format!("there is no loss `{name}`; expected one of {}", loss_names().join(", ")));
        }
        Ok(WeightedLoss { name: name.to_string(), weight: number_parser(0.0, 1e6)(weight)? })
    }
}

fn loss_names() -> Vec<&'static str> {
    let images = losses::of_images().into_iter().map(|loss| loss.name());
    images.chain(losses::of_outputs().into_iter().map(|loss| loss.name())).collect()
}

fn source_names() -> PossibleValuesParser {
    sources::all().iter().map(|source| source.name).into()
}

/// No statistics at all.
const NONE: &str = "none";

fn statistics_names() -> PossibleValuesParser {
    losses::of_statistics().iter().map(|loss| loss.name()).chain([NONE]).into()
}

/// A clap parser of finite numbers of single precision.
fn small_number_parser(least: f64, most: f64) -> impl Fn(&str) -> Result<f32, String> + Clone + Send + Sync + 'static {
    move |text: &str| number_parser(least, most)(text).map(|number| number as f32)
}

/// How images are made; what is not said is the recipe's choice.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "How images are made")]
pub struct MethodArguments {
    /// Loss on the statistics at the inputs of the BatchNormalizations [default: reverse-kl]
    #[arg(hide_short_help = true, long, value_name = "LOSS", value_parser = statistics_names())]
    pub statistics: Option<String>,
    /// What these statistics are taken over [default: batch]
    #[arg(hide_short_help = true, long, value_name = "WHAT")]
    pub statistics_over: Option<PoolName>,
    /// What images are held against where the model has no BatchNormalization left [default: auto]
    #[arg(hide_short_help = true, long, value_name = "WHAT")]
    pub assume: Option<AssumptionName>,
    /// Weight of the first BatchNormalization among the others [default: 1]
    #[arg(hide_short_help = true, long, value_name = "WEIGHT", value_parser = number_parser(0.0, 1e6))]
    pub first_layer: Option<f64>,
    /// Match the input's own mean and deviation to those of natural pictures too [default: false]
    #[arg(hide_short_help = true, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub input_statistics: Option<bool>,
    /// One more loss and its weight beside the statistics: smoothness, total-variation, cross-entropy (to random labels) or
    /// stretch (of the output); may be repeated
    #[arg(hide_short_help = true, long = "loss", value_name = "NAME=WEIGHT", value_parser = WeightedLoss::from_str)]
    pub losses: Vec<WeightedLoss>,
    /// Make images that a Gaussian blur of this deviation in pixels has gone over; 0 for none [default: 0]
    #[arg(hide_short_help = true, long, value_name = "PIXELS", value_parser = small_number_parser(0.0, 64.0))]
    pub low_pass: Option<f32>,
    /// What is optimized [default: pixels]
    #[arg(hide_short_help = true, long, value_name = "SOURCE", value_parser = source_names())]
    pub source: Option<String>,
    /// What pixels are at first [default: dead-leaves]
    #[arg(hide_short_help = true, long, value_name = "IMAGES")]
    pub start: Option<StartName>,
    /// Largest step of a pixel, as a part of its range [default: 0.035]
    #[arg(hide_short_help = true, long, value_name = "PART", value_parser = small_number_parser(0.0, 1.0))]
    pub rate: Option<f32>,
    /// Sizes of pictures: 2 moves them at half the size first, 3 at a quarter before that, where the network takes pictures
    /// that small and they keep 48 pixels a side; the work stays the same [default: 1]
    #[arg(hide_short_help = true, long, value_name = "N", value_parser = count_parser(1, 5))]
    pub stages: Option<usize>,
    /// Images whose statistics are matched together [default: chosen from the model]
    #[arg(hide_short_help = true, long, value_name = "N", value_parser = count_parser(1, 65_536))]
    pub batch: Option<usize>,
}

impl MethodArguments {
    /// What is not said here is as `recipe` says.
    pub fn or(&self, recipe: &MethodArguments) -> MethodArguments {
        let losses = if self.losses.is_empty() { &recipe.losses } else { &self.losses };
        MethodArguments {
            statistics: self.statistics.clone().or_else(|| recipe.statistics.clone()),
            statistics_over: self.statistics_over.or(recipe.statistics_over),
            assume: self.assume.or(recipe.assume),
            first_layer: self.first_layer.or(recipe.first_layer),
            input_statistics: self.input_statistics.or(recipe.input_statistics),
            losses: losses.clone(),
            low_pass: self.low_pass.or(recipe.low_pass),
            source: self.source.clone().or_else(|| recipe.source.clone()),
            start: self.start.or(recipe.start),
            rate: self.rate.or(recipe.rate),
            stages: self.stages.or(recipe.stages),
            batch: self.batch.or(recipe.batch),
        }
    }

    /// The method that these flags are, under the name of a recipe.
    ///
    /// # Errors
    /// If there is no such source.
    pub fn method(&self, recipe: String) -> Result<Method> {
        let usual = Method::default();
        let source = self.source.as_deref().unwrap_or(usual.source.name);
        let source = sources::all().into_iter().find(|known| known.name == source);
        if self.stages.is_some_and(|stages| stages > 1) && source.is_some_and(|source| source.name != usual.source.name) {
            return Err(Error::Usage("--stages goes with --source pixels: a generator makes all pixels anew".into()));
        }
        let statistics = |name: &String| losses::of_statistics().into_iter().find(|loss| loss.name() == name);
        let weight = |name: &str| self.losses.iter().find(|loss| loss.name == name).map(|loss| loss.weight).filter(|weight| *weight > 0.0);
        Ok(Method {
            recipe,
            start: self.start.map_or(usual.start, |start| match start {
                StartName::DeadLeaves => Start::DeadLeaves,
                StartName::Gaussian => Start::Gaussian,
            }),
            source: source.ok_or_else(|| Error::Usage("there is no such source of images".into()))?,
            statistics: self.statistics.as_ref().map_or(usual.statistics, statistics),
            pool: self.statistics_over.map_or(usual.pool, |pool| match pool {
                PoolName::Batch => Pool::Batch,
                PoolName::Image => Pool::Image,
                PoolName::Set => Pool::Set,
            }),
            assumption: self.assume.map_or(usual.assumption, |assumption| match assumption {
                AssumptionName::Auto => Assumption::Automatic,
                AssumptionName::Classes => Assumption::Classes,
                AssumptionName::None => Assumption::None,
                AssumptionName::Standard => Assumption::Standard,
                AssumptionName::Propagated => Assumption::Propagated,
            }),
            first_layer: self.first_layer.unwrap_or(usual.first_layer),
            input_statistics: self.input_statistics.unwrap_or(usual.input_statistics),
            image_losses: losses::of_images().into_iter().filter_map(|loss| Some((loss, weight(loss.name())?))).collect(),
            output_losses: losses::of_outputs().into_iter().filter_map(|loss| Some((loss, weight(loss.name())?))).collect(),
            low_pass: self.low_pass.filter(|deviation| *deviation > 0.0),
            rate: self.rate.unwrap_or(usual.rate),
            stages: self.stages.unwrap_or(usual.stages),
            batch: self.batch,
        })
    }
}
