//! What the outputs of a network are for.

use serde::{Serialize, Serializer};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// As the outputs themselves say.
    #[default]
    Auto,
    Classify,
    Segment,
    Detect,
    Regress,
}

impl Task {
    pub const ALL: [Task; 5] = [Task::Auto, Task::Classify, Task::Segment, Task::Detect, Task::Regress];

    pub fn name(self) -> &'static str {
        match self {
            Task::Auto => "auto",
            Task::Classify => "classify",
            Task::Segment => "segment",
            Task::Detect => "detect",
            Task::Regress => "regress",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Task::Auto => "as each output says: its shape, a Softmax or ArgMax at its end",
            Task::Classify => "scores of classes, for samples, or for frames and other positions along the axes before the last: agreement",
            Task::Segment => "a class for each pixel: agreement and mean IoU, with --labels that with masks too",
            Task::Detect => "boxes: matched ones, their overlap and mean average precision, with --labels that of both models too",
            Task::Regress => "numbers, embeddings: errors and cosines, no classes",
        }
    }
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
