//! Boxes of a file of labels in the form of COCO.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::framing::{Framing, View};
use super::pictures::picture_size;
use crate::error::{Error, Result};
use crate::limits::{Limits, beyond};

/// A box that someone drew around a thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DrawnBox {
    /// Left, top, right and bottom in parts of the sides of what a sample shows.
    pub corners: [f32; 4],
    pub class: u32,
    /// A group of things.
    pub crowd: bool,
}

#[derive(Deserialize)]
struct Labels {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: i64,
    file_name: String,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: i64,
    category_id: i64,
    /// Left, top, width and height in pixels.
    bbox: [f64; 4],
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

/// The boxes of each of `pictures`, as a sample shows it. A category is the class of its place among `names`, else that of its
/// place in the order of the numbers of all.
///
/// # Errors
/// If the file is none of this form, or does not know a picture, or a category has no class.
pub fn read_boxes(
    file: &Path,
    pictures: &[PathBuf],
    names: Option<&[String]>,
    framing: &Framing,
    limits: &Limits,
) -> Result<Vec<Vec<DrawnBox>>> {
    let fail = |reason: String| Error::file(file, reason);
    let bytes = std::fs::metadata(file).map_err(|error| fail(error.to_string()))?.len();
    if bytes > limits.data_bytes {
        return Err(fail(format!("has {bytes} bytes, {}", beyond("data-bytes", limits.data_bytes))));
    }
    let text = std::fs::read_to_string(file).map_err(|error| fail(error.to_string()))?;
    let labels: Labels = serde_json::from_str(&text).map_err(|error| fail(format!("is no file of COCO labels: {error}")))?;
    let classes = classes(&labels.categories, names).map_err(fail)?;
    let mut by_image: HashMap<i64, Vec<&Annotation>> = HashMap::new();
    labels.annotations.iter().for_each(|annotation| by_image.entry(annotation.image_id).or_default().push(annotation));
    let images: HashMap<&str, i64> = labels.images.iter().map(|image| (base_name(&image.file_name), image.id)).collect();
    let of_picture = |picture: &PathBuf| {
        let name = picture.file_name().unwrap_or_default().to_string_lossy();
        let image = images.get(&*name).ok_or_else(|| fail(format!("knows no picture {name}")))?;
        let (height, width) = picture_size(picture)?;
        let view = framing.view(height, width);
        let annotations = by_image.get(image).map(Vec::as_slice).unwrap_or_default();
        annotations.iter().filter_map(|annotation| drawn(annotation, &classes, view).map_err(fail).transpose()).collect()
    };
    pictures.iter().map(of_picture).collect()
}

fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// The class of each category.
fn classes(categories: &[Category], names: Option<&[String]>) -> Result<BTreeMap<i64, u32>, String> {
    let sorted: BTreeMap<i64, &str> = categories.iter().map(|category| (category.id, category.name.as_str())).collect();
    let class = |(place, (id, name)): (usize, (i64, &str))| match names {
        None => Ok((id, place as u32)),
        Some(names) => {
            let known = names.iter().position(|known| known == name);
            known.map(|place| (id, place as u32)).ok_or_else(|| format!("--classes does not name its category {name}"))
        }
    };
    sorted.into_iter().enumerate().map(class).collect()
}

/// What a sample shows of a box; `None` where that is nothing.
fn drawn(annotation: &Annotation, classes: &BTreeMap<i64, u32>, view: View) -> Result<Option<DrawnBox>, String> {
    let class = classes.get(&annotation.category_id).copied();
    let class = class.ok_or_else(|| format!("has a box of category {}, which it does not list", annotation.category_id))?;
    let [left, top, width, height] = annotation.bbox;
    let across = |x: f64| ((x - view.left) / view.width).clamp(0.0, 1.0) as f32;
    let down = |y: f64| ((y - view.top) / view.height).clamp(0.0, 1.0) as f32;
    let corners = [across(left), down(top), across(left + width), down(top + height)];
    let shown = corners[2] > corners[0] && corners[3] > corners[1];
    Ok(shown.then_some(DrawnBox { corners, class, crowd: annotation.iscrowd != 0 }))
}

#[cfg(test)]
mod tests {
    use super::super::framing::Resize;
    use super::*;

    fn read(text: &str, names: Option<&[&str]>, framing: &Framing) -> Result<Vec<Vec<DrawnBox>>> {
        let place = tempfile::tempdir().unwrap();
        let (file, picture) = (place.path().join("labels.json"), place.path().join("a.png"));
        std::fs::write(&file, text).unwrap();
        image::GrayImage::new(40, 20).save(&picture).unwrap();
        let names = names.map(|names| names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        read_boxes(&file, &[picture], names.as_deref(), framing, &Limits::default())
    }

    const LABELS: &str = r#"{"images": [{"id": 7, "file_name": "val/a.png", "width": 40}, {"id": 8, "file_name": "b.png"}],
        "annotations": [{"image_id": 7, "category_id": 90, "bbox": [10, 5, 20, 10]},
                        {"image_id": 7, "category_id": 3, "bbox": [0, 0, 5, 5], "iscrowd": 1},
                        {"image_id": 8, "category_id": 3, "bbox": [0, 0, 5, 5]}],
        "categories": [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}]}"#;

    #[test]
    fn boxes_are_those_of_the_picture_in_parts_of_its_sides() {
        let found = read(LABELS, None, &Framing::default()).unwrap();
        let dog = DrawnBox { corners: [0.25, 0.25, 0.75, 0.75], class: 1, crowd: false };
        assert_eq!(found, [vec![dog, DrawnBox { corners: [0.0, 0.0, 0.125, 0.25], class: 0, crowd: true }]]);
        let named = read(LABELS, Some(&["sky", "dog", "x", "cat"]), &Framing::default()).unwrap();
        assert_eq!((named[0][0].class, named[0][1].class), (1, 3));
    }

    #[test]
    fn boxes_are_framed_as_their_picture() {
        let middle = Framing { resize: Some(Resize::Shorter(10)), crop: Some((10, 10)), ..Framing::default() };
        let found = read(LABELS, None, &middle).unwrap();
        assert_eq!(found[0], [DrawnBox { corners: [0.0, 0.25, 1.0, 0.75], class: 1, crowd: false }]);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let says = |text: &str, names| read(text, names, &Framing::default()).unwrap_err().to_string();
        assert!(says("{}", None).contains("labels.json: is no file of COCO labels"));
        assert!(says(&LABELS.replace("val/a.png", "c.png"), None).contains("knows no picture a.png"));
        assert!(says(&LABELS.replace("\"id\": 90", "\"id\": 91"), None).contains("category 90, which it does not list"));
        assert!(says(LABELS, Some(&["cat"])).contains("--classes does not name its category dog"));
    }
}
