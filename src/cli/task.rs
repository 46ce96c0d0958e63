//! Flags that say what outputs are for.

use std::path::PathBuf;

use clap::Args;

use super::arguments::{choice_parser, first_said, number_parser};
use crate::error::{Error, Result};
use crate::evaluation::{Decoder, Task};

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What the outputs are for")]
pub struct TaskArguments {
    /// What is measured of the outputs [default: auto]
    #[arg(long, value_name = "TASK", value_parser = choice_parser(&Task::ALL, Task::name, Task::description))]
    pub task: Option<Task>,
    /// How boxes are read from the outputs of a detector [default: as they say themselves]
    #[arg(long, value_name = "FORM", value_parser = choice_parser(&Decoder::ALL, Decoder::name, Decoder::description))]
    pub decode: Option<Decoder>,
    /// Score from which a box counts [default: 0.25]
    #[arg(long, value_name = "SCORE", value_parser = number_parser(0.0, 1.0))]
    pub min_score: Option<f64>,
    /// What is right of the pictures of --data: a folder of masks, a PNG for each picture with the number of a class at each
    /// pixel (255 for none); or boxes, a JSON file in the form of COCO
    #[arg(long, value_name = "PATH", requires = "data")]
    pub labels: Option<PathBuf>,
}

impl TaskArguments {
    /// # Errors
    /// If flags of detectors are said for another task.
    pub fn check(&self) -> Result<()> {
        let task = self.task.unwrap_or_default();
        let said = first_said([("--decode", self.decode.is_some()), ("--min-score", self.min_score.is_some())]);
        match said.filter(|_| !matches!(task, Task::Auto | Task::Detect)) {
            Some(flag) => Err(Error::Usage(format!("{flag} is for detectors, not for --task {}", task.name()))),
            None => Ok(()),
        }
    }
}
