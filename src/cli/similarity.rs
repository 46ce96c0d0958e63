//! `zeroq similarity`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use super::arguments::{InputShape, count_parser};
use super::data::expected_inputs;
use super::output::{print, print_json};
use super::pictures::PictureArguments;
use super::text::{escape_name, plural};
use super::{Context, Outcome, work};
use crate::calibration::{CalibrationSet, ExpectedInput, SET_FILE, class_folders, read_set};
use crate::error::{Error, Result};
use crate::evaluation::{ClassFolder, Cost, FileReport, Found, RankedSet, SCHEMA, SimilarityReport, Stopwatch, rank};
use crate::onnx::Model;
use crate::passes::simplify;
use crate::pipeline::open_batch;
use crate::progress::Progress;
use crate::synthesis::input_range::InputRange;
use crate::synthesis::sibling::Sibling;
use crate::synthesis::similarity::Yardstick;

const EXAMPLES: &str = "\
Examples:
  zeroq similarity model.onnx photos/ drawings/ noise/
  zeroq similarity model.onnx sets/* -n 512 --input-range imagenet
  zeroq similarity model_folded.onnx photos/ --stats-from model_unfused.onnx --layers
  zeroq quantize model.onnx -o model_int8.onnx --calibration \"$(zeroq similarity model.onnx sets/* --pick)\"";

/// Rank sets of images by how near they are to what a model was trained on
///
/// Each set goes through the model, and its statistics at the inputs of the BatchNormalizations are held against those that the
/// model has stored of its training: KL(set ‖ stored), mean over channels and layers, lower is nearer (The Knowledge Within,
/// arXiv:1912.01274). The nearest set is the best stand-in for training data where there is a choice. A set that is not
/// shuffled, or not balanced, is warned of: the distance hardly tells.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SimilarityArguments {
    /// The model, an .onnx file with its BatchNormalization nodes kept
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Sets of images: folders of PNG or JPEG pictures, folders with one folder of pictures for each class, folders of
    /// `zeroq synthesize`, .safetensors, .npy or .npz
    #[arg(value_name = "SET", required = true)]
    pub sets: Vec<PathBuf>,
    /// Print the nearest set alone: its path, or with --json what was found of it
    #[arg(long)]
    pub pick: bool,
    /// Show the distance at each layer too
    #[arg(long, conflicts_with = "pick")]
    pub layers: bool,
    /// Images to take of each set, the first ones; as many of each class where folders are classes [default: all]
    #[arg(short = 'n', long, value_name = "N", value_parser = count_parser(1, 1 << 24))]
    pub images: Option<usize>,
    /// The same network with its BatchNormalization kept, where the model has it folded
    #[arg(long, value_name = "FILE")]
    pub stats_from: Option<PathBuf>,
    /// Values that pixels 0..255 become: auto, unit (0,1), signed (-1,1), byte (0,255), imagenet, or LO,HI for all channels
    /// or for each
    #[arg(long, value_name = "RANGE", default_value = "auto", allow_hyphen_values = true, value_parser = InputRange::from_str)]
    pub input_range: InputRange,
    #[command(flatten)]
    pub pictures: PictureArguments,
    /// Shape of an input whose sizes the model leaves open, as in --shape input=1x3x224x224; may be repeated
    #[arg(long = "shape", value_name = "NAME=SIZES", value_parser = InputShape::from_str)]
    pub shapes: Vec<InputShape>,
}

pub fn run(arguments: &SimilarityArguments, context: &Context) -> Result<Outcome> {
    work::check_model(&arguments.model)?;
    for path in &arguments.sets {
        std::fs::metadata(path).map_err(|error| Error::file(path, error))?;
    }
    let report = measure(arguments, context)?;
    context.terminal.check()?;
    if context.json {
        print_json(&report)?;
    } else if arguments.pick {
        print(&format!("{}\n", report.pick))?;
    } else {
        print(&describe(&report, arguments.layers))?;
    }
    Ok(Outcome::Done)
}

fn measure(arguments: &SimilarityArguments, context: &Context) -> Result<SimilarityReport> {
    let stopwatch = Stopwatch::new(&context.terminal);
    let judge = Judge::new(arguments, context, &stopwatch)?;
    let found = arguments.sets.iter().map(|path| judge.measure(path, &stopwatch)).collect::<Result<Vec<_>>>()?;
    let (mut sets, warnings) = rank(found);
    warnings.iter().for_each(|warning| stopwatch.warn(warning));
    if arguments.pick {
        sets.truncate(1);
    }
    Ok(SimilarityReport {
        schema: SCHEMA,
        command: "similarity",
        version: work::VERSION,
        model: judge.model,
        statistics_from: judge.statistics_from,
        pick: sets.first().map(|set| set.found.path.clone()).unwrap_or_default(),
        sets,
        warnings: stopwatch.warnings(),
        cost: Cost::of(&stopwatch, &context.execution),
    })
}

/// What measures sets, and how they are read.
struct Judge<'a> {
    arguments: &'a SimilarityArguments,
    context: &'a Context,
    model: FileReport,
    statistics_from: Option<FileReport>,
    yardstick: Yardstick,
    expected: Vec<ExpectedInput>,
    /// The model, and the sibling that is still to be checked on the first images.
    unchecked: Option<(Model, Sibling)>,
}

impl<'a> Judge<'a> {
    fn new(arguments: &'a SimilarityArguments, context: &'a Context, progress: &dyn Progress) -> Result<Self> {
        let mut model = work::load(&arguments.model, &context.limits, progress)?;
        work::open(&mut model.graph, &arguments.shapes, &context.execution, progress)?;
        simplify(&mut model.graph)?;
        let report = work::file_report(&model);
        let (model, statistics_from, unchecked) = match &arguments.stats_from {
            None => (model, None, None),
            Some(path) => {
                let mut other = work::load(path, &context.limits, progress)?;
                open_batch(&mut other.graph, &context.execution, progress)?;
                let sibling = Sibling::new(other.graph.clone(), other.sha256.clone(), &model.graph)?;
                (other.with_graph(sibling.graph.clone()), Some(work::file_report(&other)), Some((model, sibling)))
            }
        };
        let yardstick = Yardstick::new(&model.graph, context.execution, progress)?;
        let expected = expected_inputs(
            &model,
            arguments.pictures(),
            &arguments.input_range,
            &arguments.pictures.framing(),
            context.execution,
            progress,
        )?;
        Ok(Judge { arguments, context, model: report, statistics_from, yardstick, expected, unchecked })
    }

    fn measure(&self, path: &Path, progress: &dyn Progress) -> Result<Found> {
        let (names, parts) = self.read(path, progress)?;
        if let (Some((model, sibling)), Some(part)) = (&self.unchecked, parts.first()) {
            sibling.check(part, &model.graph, &self.context.execution)?;
        }
        progress.begin(&format!("measure {}", path.display()), Yardstick::steps(&parts));
        let similarity = self.yardstick.measure(&parts, progress)?;
        progress.end();
        let folder = |(name, part): (String, &CalibrationSet)| ClassFolder { name, images: part.len() };
        let class_folders = names.into_iter().zip(&parts).map(folder).collect();
        Ok(Found { path: path.to_string_lossy().into_owned(), class_folders, similarity })
    }

    /// The images of a set, class by class where its folders are classes: then their names too.
    fn read(&self, path: &Path, progress: &dyn Progress) -> Result<(Vec<String>, Vec<CalibrationSet>)> {
        let classes = class_folders(path);
        let names = classes.iter().map(|class| class.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect();
        let folders = if classes.is_empty() { vec![path.to_path_buf()] } else { classes };
        let read = |(index, folder): (usize, &PathBuf)| {
            let set = read_set(folder, &self.expected, &self.context.limits, progress)?;
            let share = self.arguments.images.map_or(set.len(), |images| share(images, index, folders.len()));
            Ok(set.slice(0..share.min(set.len())))
        };
        Ok((names, folders.iter().enumerate().map(read).collect::<Result<Vec<_>>>()?))
    }
}

impl SimilarityArguments {
    /// A set of pictures, whose range must be known, where there is one.
    fn pictures(&self) -> &Path {
        let pictures = self.sets.iter().find(|path| path.is_dir() && !path.join(SET_FILE).exists());
        pictures.or(self.sets.first()).unwrap_or(&self.model)
    }
}

/// Images of one of `parts` where all together have `images`.
fn share(images: usize, index: usize, parts: usize) -> usize {
    images * (index + 1) / parts - images * index / parts
}

fn describe(report: &SimilarityReport, layers: bool) -> String {
    let mut text = format!("{:>4} {:>10} {:>9} {:>7} {:>9}  set\n", "rank", "distance", "±", "images", "classes");
    for set in &report.sets {
        let similarity = &set.found.similarity;
        let error = similarity.error.map_or("-".into(), |error| format!("{error:.5}"));
        let (rank, distance, images) = (set.rank, similarity.distance, similarity.images);
        let _ = writeln!(text, "{rank:>4} {distance:>10.5} {error:>9} {images:>7} {:>9}  {}", classes(set), escape_name(&set.found.path));
    }
    if layers {
        describe_layers(&mut text, &report.sets);
    }
    text
}

/// Classes that images have, of those that there are.
fn classes(set: &RankedSet) -> String {
    let predicted = set.found.similarity.predicted.as_ref();
    predicted.map_or("-".into(), |counts| format!("{}/{}", counts.iter().filter(|count| **count > 0).count(), counts.len()))
}

fn describe_layers(text: &mut String, sets: &[RankedSet]) {
    let count = sets.first().map_or(0, |set| set.found.similarity.layers.len());
    let _ = writeln!(text, "distance at {}, sets by rank", plural(count, "layer"));
    for index in 0..count {
        for set in sets {
            let _ = write!(text, "{:>10.5} ", set.found.similarity.layers[index].distance);
        }
        let _ = writeln!(text, " {}", escape_name(&sets[0].found.similarity.layers[index].node));
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_add_up() {
        for (images, parts) in [(10, 3), (512, 10), (2, 5), (7, 1)] {
            assert_eq!((0..parts).map(|index| share(images, index, parts)).sum::<usize>(), images);
        }
    }
}
