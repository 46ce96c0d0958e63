//! Sets of images, the nearest to what a model was trained on first, and what is to be said against each.

use serde::Serialize;

use super::report::{Cost, FileReport};
use crate::synthesis::similarity::Similarity;

/// What `zeroq similarity` found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SimilarityReport {
    pub schema: u32,
    pub command: &'static str,
    pub version: &'static str,
    pub model: FileReport,
    /// The file whose statistics were taken, where that is another one.
    pub statistics_from: Option<FileReport>,
    /// The nearest set.
    pub pick: String,
    /// The nearest first; with `--pick` that one alone.
    pub sets: Vec<RankedSet>,
    pub warnings: Vec<String>,
    #[serde(flatten)]
    pub cost: Cost,
}

/// One set, measured and ranked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankedSet {
    pub rank: usize,
    #[serde(flatten)]
    pub found: Found,
    /// Whether the files look sorted; `None` where too few say.
    pub sorted: Option<bool>,
    /// Whether classes have much unlike numbers of images; `None` where there are no classes.
    pub unbalanced: Option<bool>,
}

/// One set, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    pub path: String,
    /// Where its folders are classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub class_folders: Vec<ClassFolder>,
    #[serde(flatten)]
    pub similarity: Similarity,
}

/// A folder of the pictures of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassFolder {
    pub name: String,
    pub images: usize,
}

/// Least evenness of classes that is not warned of: where one of ten has almost half of the images.
const EVEN: f64 = 0.8;
/// Fewest images whose classes are counted.
const FEWEST: usize = 8;

/// Sets by their distance, the nearest first, and what is to be said against them.
pub fn rank(mut found: Vec<Found>) -> (Vec<RankedSet>, Vec<String>) {
    found.sort_by(|a, b| a.similarity.distance.total_cmp(&b.similarity.distance));
    let sets: Vec<RankedSet> = found.into_iter().enumerate().map(|(index, found)| RankedSet::new(index + 1, found)).collect();
    let warnings = sets.iter().flat_map(RankedSet::warnings).chain(sizes(&sets)).chain(tie(&sets)).collect();
    (sets, warnings)
}

impl RankedSet {
    fn new(rank: usize, found: Found) -> Self {
        // Folders that are classes come one after another, which is no fault of theirs.
        let order = found.similarity.order.filter(|_| found.class_folders.is_empty());
        let sorted = order.map(|order| order.is_sorted());
        let unbalanced = found.evenness().map(|evenness| evenness < EVEN);
        RankedSet { rank, found, sorted, unbalanced }
    }

    fn warnings(&self) -> Vec<String> {
        let Found { path, similarity, .. } = &self.found;
        let mut warnings = Vec::new();
        if let (Some(true), Some(order)) = (self.sorted, similarity.order) {
            let far = format!("its first half is {:.4} away from the second, random halves are {:.4}", order.halves, order.random_halves);
            warnings.push(format!(
                "{path} is not shuffled: {far}; if files are sorted by class, whatever reads the first ones alone sees another distribution"
            ));
        }
        if let (Some(true), Some((class, part))) = (self.unbalanced, self.found.most_frequent()) {
            warnings.push(format!(
                "{path} is not balanced: {part:.0} % of its images are {class}; the distance hardly tells, but accuracy may"
            ));
        }
        warnings
    }
}

impl Found {
    /// Of folders that are classes, else of the classes that the network sees.
    fn evenness(&self) -> Option<f64> {
        if self.similarity.images < FEWEST {
            return None;
        }
        let counts: Vec<usize> = self.class_folders.iter().map(|folder| folder.images).collect();
        if counts.is_empty() { self.similarity.evenness } else { Some(crate::synthesis::similarity::evenness(&counts)) }
    }

    /// The class that most images have, and how many percent.
    fn most_frequent(&self) -> Option<(String, f64)> {
        let percent = |count: usize| 100.0 * count as f64 / self.similarity.images.max(1) as f64;
        if let Some(folder) = self.class_folders.iter().max_by_key(|folder| folder.images) {
            return Some((format!("in `{}`", folder.name), percent(folder.images)));
        }
        let (class, count) = self.similarity.predicted.as_ref()?.iter().enumerate().max_by_key(|(_, count)| **count)?;
        Some((format!("taken for class {class}"), percent(*count)))
    }
}

/// Distances of few images are greater than those of many.
fn sizes(sets: &[RankedSet]) -> Option<String> {
    let sizes = || sets.iter().map(|set| set.found.similarity.images);
    let (least, most) = (sizes().min()?, sizes().max()?);
    (most > 2 * least)
        .then(|| format!("sets have {least} to {most} images, and few look farther away than many: -n {least} takes as many of each"))
}

/// Sets that are as near as the first one, as far as can be told.
fn tie(sets: &[RankedSet]) -> Option<String> {
    let [first, second, ..] = sets else { return None };
    let (a, b) = (&first.found.similarity, &second.found.similarity);
    let noise = (a.error?.powi(2) + b.error?.powi(2)).sqrt();
    (b.distance - a.distance < 2.0 * noise)
        .then(|| format!("{} and {} are as near, as far as so many images tell", first.found.path, second.found.path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthesis::similarity::Order;

    fn found(path: &str, distance: f64, predicted: &[usize]) -> Found {
        let similarity = Similarity {
            images: predicted.iter().sum(),
            distance,
            error: Some(0.01),
            forward_distance: distance,
            layers: Vec::new(),
            order: Some(Order { halves: 0.01, random_halves: 0.01, deviation: 0.001 }),
            evenness: Some(crate::synthesis::similarity::evenness(predicted)),
            predicted: Some(predicted.to_vec()),
        };
        Found { path: path.into(), class_folders: Vec::new(), similarity }
    }

    fn warnings(found: Vec<Found>) -> String {
        rank(found).1.join("\n")
    }

    #[test]
    fn the_nearest_set_is_first_and_nothing_is_said_of_good_ones() {
        let (sets, warnings) = rank(vec![found("far", 0.3, &[10, 10]), found("near", 0.1, &[11, 9])]);
        assert_eq!(sets.iter().map(|set| (set.rank, set.found.path.as_str())).collect::<Vec<_>>(), [(1, "near"), (2, "far")]);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn what_is_wrong_with_a_set_is_said() {
        let mut sorted = found("a", 0.1, &[10, 10]);
        sorted.similarity.order = Some(Order { halves: 0.5, random_halves: 0.01, deviation: 0.001 });
        assert!(warnings(vec![sorted.clone()]).contains("a is not shuffled"));
        let folder = |name: &str, images| ClassFolder { name: name.into(), images };
        sorted.class_folders = vec![folder("cat", 10), folder("dog", 10)];
        assert_eq!(warnings(vec![sorted.clone()]), "");
        sorted.class_folders = vec![folder("cat", 1), folder("dog", 19)];
        assert!(warnings(vec![sorted]).contains("95 % of its images are in `dog`"));
        assert!(warnings(vec![found("b", 0.1, &[0, 2, 18])]).contains("b is not balanced: 90 % of its images are taken for class 2"));
        assert!(warnings(vec![found("c", 0.1, &[10, 10]), found("d", 0.2, &[50, 50])]).contains("-n 20"));
        assert!(warnings(vec![found("e", 0.1, &[10, 10]), found("f", 0.11, &[10, 10])]).contains("e and f are as near"));
    }
}
