//! `zeroq compare` for networks that do not classify: small ones whose right figures are known, on drawn pictures.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;
use zeroq::graph::Graph;
use zeroq::graph::sketch::Sketch;
use zeroq::onnx::{Model, to_bytes};
use zeroq::ops::Attributes;
use zeroq::tensor::TensorData;

const RED: Rgb<u8> = Rgb([255, 0, 0]);
const BLUE: Rgb<u8> = Rgb([0, 0, 255]);

struct Workshop(TempDir);

impl Workshop {
    fn new() -> Self {
        Workshop(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, graph: Graph) {
        fs::write(self.path().join(name), to_bytes(&Model::from_graph(graph)).unwrap()).unwrap();
    }

    /// `zeroq compare a.onnx b.onnx --data pictures` of numbers 0..1, with `more`.
    fn compare(&self, more: &[&str]) -> Output {
        let usual = ["compare", "a.onnx", "b.onnx", "--data", "pictures", "--input-range", "unit"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
        command.args(usual).args(more).current_dir(self.path()).env_remove("ORT_DYLIB_PATH").env_remove("GITHUB_ACTIONS");
        command.output().unwrap()
    }

    fn report(&self, more: &[&str]) -> Value {
        let output = self.compare(&[more, &["--json"]].concat());
        assert!(matches!(output.status.code(), Some(0 | 1)), "{more:?}: {}", text(&output.stderr));
        serde_json::from_str(&text(&output.stdout)).unwrap()
    }

    /// Asserts that `limit` is kept by what is `kept`, and not by what is `missed`.
    fn assert_limit(&self, limit: &str, kept: &str, missed: &str, more: &[&str]) {
        let code = |value: &str| {
            let output = self.compare(&[more, &[limit, value]].concat());
            (output.status.code(), format!("{limit} {value}: {}{}", text(&output.stdout), text(&output.stderr)))
        };
        let (found, said) = code(kept);
        assert_eq!(found, Some(0), "{said}");
        let (found, said) = code(missed);
        assert!(found == Some(1) && said.contains(&format!("MISSED {}", &limit[2..])), "{said}");
    }

    fn refuses(&self, more: &[&str], says: &str) {
        let output = self.compare(more);
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        assert!(text(&output.stderr).contains(says), "{more:?}: {}", text(&output.stderr));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn close(value: &Value, expected: f64) {
    let found = value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
}

/// Scores of classes for each pixel of 8 × 8: `weights` of red, green and blue, and a bias.
fn segmenter(classes: &[[f32; 4]]) -> Sketch {
    let weights: Vec<f32> = classes.iter().flat_map(|class| class[..3].to_vec()).collect();
    let biases: Vec<f32> = classes.iter().map(|class| class[3]).collect();
    let sketch = Sketch::new(&[0, 3, 8, 8]).constant("w", TensorData::new(&[classes.len(), 3, 1, 1], weights));
    sketch.constant("b", TensorData::vector(biases)).plain("y", "Conv", "x w b")
}

/// Red, green, blue, or none of them; blind to blue if it is to be.
fn colors(blind: bool) -> Sketch {
    let blue = if blind { 0.0 } else { 1.0 };
    segmenter(&[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, blue, 0.0], [0.0, 0.0, 0.0, 0.5]])
}

/// Two pictures of 16 × 16, red on the left and blue on the right, with masks that say so; 255 in the first row.
fn write_halves(folder: &Path) {
    fs::create_dir(folder.join("pictures")).unwrap();
    fs::create_dir(folder.join("masks")).unwrap();
    for name in ["one", "two"] {
        let picture = RgbImage::from_fn(16, 16, |x, _| if x < 8 { RED } else { BLUE });
        picture.save(folder.join("pictures").join(format!("{name}.png"))).unwrap();
        let mask = GrayImage::from_fn(16, 16, |x, y| Luma([if y < 2 { 255 } else { u8::from(x >= 8) * 2 }]));
        mask.save(folder.join("masks").join(format!("{name}.png"))).unwrap();
    }
}

#[test]
fn a_segmenter_is_told_by_its_shape_and_judged_by_pixels_overlaps_and_masks() {
    let workshop = Workshop::new();
    write_halves(workshop.path());
    workshop.write("a.onnx", colors(false).outputs("y"));
    workshop.write("b.onnx", colors(true).outputs("y"));
    let report = workshop.report(&["--labels", "masks"]);
    let output = &report["comparison"]["outputs"][0];
    assert_eq!((&output["task"], &output["agreement_of"]), (&"segment".into(), &"pixels".into()));
    assert!(output["task_reason"].as_str().unwrap().contains("area of an input"), "{output}");
    close(&output["agreement_percent"], 50.0);
    close(&output["overlap"]["mean_iou"], 1.0 / 3.0);
    let labelled = &report["comparison"]["labelled"][0];
    assert_eq!((&labelled["measure"], &labelled["samples"]), (&"mean IoU".into(), &2.into()));
    close(&labelled["reference"], 1.0);
    close(&labelled["candidate"], 1.0 / 3.0);
    workshop.assert_limit("--min-iou", "0.33", "0.34", &[]);
    workshop.assert_limit("--max-iou-drop", "67", "66", &["--labels", "masks"]);
    workshop.assert_limit("--min-agreement", "50", "51", &[]);
}

#[test]
fn every_format_tells_of_overlaps() {
    let workshop = Workshop::new();
    write_halves(workshop.path());
    workshop.write("a.onnx", colors(false).outputs("y"));
    workshop.write("b.onnx", colors(true).outputs("y"));
    for format in ["text", "json", "junit", "sarif", "github", "markdown"] {
        let output = workshop.compare(&["--labels", "masks", "--min-iou", "0.9", "--max-iou-drop", "1", "--format", format]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{format}: {}", text(&output.stderr));
        for needed in ["min-iou", "max-iou-drop", "0.333", "66.67 points"] {
            assert!(said.contains(needed), "{format} lacks {needed}: {said}");
        }
    }
}

#[test]
fn a_mask_of_yes_and_no_needs_to_be_told() {
    let workshop = Workshop::new();
    write_halves(workshop.path());
    let mask = |threshold: f32| segmenter(&[[20.0, 0.0, 0.0, -threshold]]).plain("s", "Sigmoid", "y").outputs("s");
    workshop.write("a.onnx", mask(10.0));
    workshop.write("b.onnx", mask(30.0));
    assert_eq!(workshop.report(&[])["comparison"]["outputs"][0]["agreement_percent"], Value::Null);
    let output = &workshop.report(&["--task", "segment"])["comparison"]["outputs"][0];
    close(&output["agreement_percent"], 50.0);
    close(&output["overlap"]["mean_iou"], 0.25);
    workshop.refuses(&["--min-agreement", "50"], "no output has a score for each of several classes");
    workshop.refuses(&["--min-iou", "0.5"], "--task segment says that one has");
    workshop.refuses(&["--labels", "masks"], "--task segment says that one has");
}

#[test]
fn labels_that_do_not_fit_are_refused_by_name() {
    let workshop = Workshop::new();
    write_halves(workshop.path());
    workshop.write("a.onnx", colors(false).outputs("y"));
    workshop.write("b.onnx", colors(true).outputs("y"));
    fs::create_dir(workshop.path().join("empty")).unwrap();
    workshop.refuses(&["--labels", "empty"], "one.png: is not there: it is the mask of pictures/one.png");
    GrayImage::from_pixel(16, 16, Luma([9])).save(workshop.path().join("masks/two.png")).unwrap();
    workshop.refuses(&["--labels", "masks"], "two.png: names the class 9, of which output `y` has 4");
    workshop.refuses(&["--task", "segment", "--max-iou-drop", "1"], "--labels");
}

#[test]
fn classes_of_frames_are_those_of_the_softmax_or_of_the_task() {
    let workshop = Workshop::new();
    write_halves(workshop.path());
    let frames = |blind: bool, end: &str| {
        let sketch = colors(blind).integers("to", &[0, 4, 64]).plain("r", "Reshape", "y to");
        let sketch = sketch.node("t", "Transpose", "r", Attributes::default().sizes("perm", &[0, 2, 1]));
        sketch.node("f", end, "t", Attributes::default()).outputs("f")
    };
    workshop.write("a.onnx", frames(false, "Softmax"));
    workshop.write("b.onnx", frames(true, "Softmax"));
    let output = &workshop.report(&[])["comparison"]["outputs"][0];
    assert_eq!((&output["task"], &output["agreement_of"]), (&"classify".into(), &"positions".into()));
    close(&output["agreement_percent"], 50.0);
    workshop.write("a.onnx", frames(false, "Identity"));
    workshop.write("b.onnx", frames(true, "Identity"));
    let silent = &workshop.report(&[])["comparison"]["outputs"][0];
    assert_eq!((&silent["task"], &silent["agreement_percent"]), (&"regress".into(), &Value::Null));
    close(&workshop.report(&["--task", "classify"])["comparison"]["outputs"][0]["agreement_percent"], 50.0);
    workshop.refuses(&["--task", "segment"], "no output has the shape for it: `f` is [1, 64, 4]");
}

/// The raw head of a YOLOv8 for pictures of 32 × 32: two classes, 21 boxes, of which `rows` are more than nothing.
fn head(rows: &[[f32; 6]]) -> Graph {
    let mut numbers = vec![0.0; 6 * 21];
    for (place, row) in rows.iter().enumerate() {
        row.iter().enumerate().for_each(|(channel, x)| numbers[channel * 21 + 2 * place] = *x);
    }
    let all = Attributes::default().sizes("axes", &[1, 2, 3]).int("keepdims", 0);
    let sketch = Sketch::new(&[0, 3, 32, 32]).node("m", "ReduceMean", "x", all).integers("to", &[-1, 1, 1]);
    let sketch = sketch.plain("r", "Reshape", "m to").scalar("zero", 0.0).plain("n", "Mul", "r zero");
    sketch.constant("head", TensorData::new(&[1, 6, 21], numbers)).plain("y", "Add", "n head").outputs("y")
}

const THINGS: [[f32; 6]; 2] = [[8.0, 8.0, 8.0, 8.0, 0.9, 0.0], [24.0, 24.0, 8.0, 8.0, 0.0, 0.8]];

/// Two pictures of 64 × 64, with boxes around both things; a detector, and one that moves a box and almost loses the other.
fn write_detectors(workshop: &Workshop) {
    fs::create_dir(workshop.path().join("pictures")).unwrap();
    for name in ["1.png", "2.png"] {
        RgbImage::from_pixel(64, 64, RED).save(workshop.path().join("pictures").join(name)).unwrap();
    }
    let drawn = |image: u8| {
        format!(
            r#"{{"image_id": {image}, "category_id": 5, "bbox": [8, 8, 16, 16], "iscrowd": 0}},
               {{"image_id": {image}, "category_id": 9, "bbox": [40, 40, 16, 16], "iscrowd": 0}}"#
        )
    };
    let labels = format!(
        r#"{{"images": [{{"id": 1, "file_name": "1.png"}}, {{"id": 2, "file_name": "2.png"}}], "annotations": [{}, {}],
            "categories": [{{"id": 5, "name": "cat"}}, {{"id": 9, "name": "dog"}}]}}"#,
        drawn(1),
        drawn(2)
    );
    fs::write(workshop.path().join("labels.json"), labels).unwrap();
    workshop.write("a.onnx", head(&THINGS));
    workshop.write("b.onnx", head(&[[9.0, 8.0, 8.0, 8.0, 0.9, 0.0], [24.0, 24.0, 8.0, 8.0, 0.0, 0.1]]));
}

#[test]
fn a_raw_head_is_known_by_its_boxes_and_judged_by_them() {
    let workshop = Workshop::new();
    write_detectors(&workshop);
    let report = workshop.report(&["--labels", "labels.json"]);
    let comparison = &report["comparison"];
    assert_eq!((&comparison["outputs"][0]["task"], &comparison["outputs"][0]["agreement_percent"]), (&"detect".into(), &Value::Null));
    let found = &comparison["detection"];
    assert_eq!((&found["decoder"], &found["reference_boxes"], &found["candidate_boxes"]), (&"yolov8".into(), &4.into(), &2.into()));
    close(&found["matched_percent"], 200.0 / 3.0);
    close(&found["mean_iou"], 7.0 / 9.0);
    close(&found["map_50"], 1.0);
    close(&found["map_50_95"], 0.8);
    let labelled = &comparison["labelled"][0];
    assert_eq!(labelled["measure"], "mAP 0.5:0.95");
    close(&labelled["reference"], 1.0);
    close(&labelled["candidate"], 0.8);
    workshop.assert_limit("--min-matched", "66", "67", &[]);
    workshop.assert_limit("--min-box-iou", "0.77", "0.78", &["--task", "detect"]);
    workshop.assert_limit("--min-map", "0.79", "0.81", &["--decode", "yolov8"]);
    workshop.assert_limit("--max-map-drop", "21", "19", &["--labels", "labels.json"]);
    assert_eq!(workshop.report(&["--min-score", "0.05"])["comparison"]["detection"]["candidate_boxes"], 4);
}

#[test]
fn every_format_tells_of_boxes() {
    let workshop = Workshop::new();
    write_detectors(&workshop);
    for format in ["text", "json", "junit", "sarif", "github", "markdown"] {
        let limits = ["--labels", "labels.json", "--min-map", "0.9", "--max-map-drop", "1", "--format", format];
        let output = workshop.compare(&limits);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{format}: {}", text(&output.stderr));
        for needed in ["min-map", "max-map-drop", "0.800", "20.00 points"] {
            assert!(said.contains(needed), "{format} lacks {needed}: {said}");
        }
    }
}

#[test]
fn what_is_chosen_within_the_model_is_read_from_lists() {
    let workshop = Workshop::new();
    write_detectors(&workshop);
    let lists = |moved: f32| {
        let all = Attributes::default().sizes("axes", &[1, 2, 3]).int("keepdims", 0);
        let sketch = Sketch::new(&[0, 3, 32, 32]).node("m", "ReduceMean", "x", all).scalar("zero", 0.0).plain("n", "Mul", "m zero");
        let boxes = vec![4.0 + moved, 4.0, 12.0 + moved, 12.0, 20.0, 20.0, 28.0, 28.0];
        let sketch = sketch.constant("b", TensorData::new(&[2, 4], boxes)).plain("boxes", "Add", "n b");
        let sketch = sketch.constant("s", TensorData::vector(vec![0.9f32, 0.8])).plain("scores", "Add", "n s");
        sketch.constant("l", TensorData::vector(vec![0.0f32, 1.0])).plain("labels", "Add", "n l").outputs("boxes scores labels")
    };
    workshop.write("a.onnx", lists(0.0));
    workshop.write("b.onnx", lists(1.0));
    assert_eq!(workshop.report(&[])["comparison"]["detection"], Value::Null);
    let report = workshop.report(&["--decode", "boxes", "--labels", "labels.json"]);
    let found = &report["comparison"]["detection"];
    close(&found["matched_percent"], 100.0);
    close(&found["map_50_95"], 0.8);
    close(&report["comparison"]["labelled"][0]["reference"], 1.0);
}

#[test]
fn boxes_that_cannot_be_read_or_judged_are_refused() {
    let workshop = Workshop::new();
    write_detectors(&workshop);
    workshop.refuses(&["--task", "regress", "--decode", "yolov8"], "--decode is for detectors, not for --task regress");
    workshop.refuses(&["--decode", "ssd"], "no output has rows of 4 numbers: `y` [1, 6, 21]");
    workshop.refuses(&["--max-map-drop", "1"], "--labels");
    workshop.refuses(&["--task", "regress", "--labels", "labels.json"], "the labels are boxes");
    fs::write(workshop.path().join("labels.json"), "{}").unwrap();
    workshop.refuses(&["--labels", "labels.json"], "labels.json: is no file of COCO labels");
    workshop.write("a.onnx", head(&[]));
    workshop.refuses(&["--min-map", "0.5"], "the reference finds none on these samples");
    workshop.write("a.onnx", head(&[[8.0, 8.0, 8.0, 8.0, 5.0, -3.0]]));
    assert_eq!(workshop.report(&[])["comparison"]["outputs"][0]["task"], "regress");
    workshop.refuses(&["--decode", "yolov8"], "what should be probabilities in output `y` reaches from -3 to 5");
    workshop.write("a.onnx", colors(false).outputs("y"));
    workshop.write("b.onnx", colors(true).outputs("y"));
    workshop.refuses(&["--task", "detect"], "--decode does");
}

/// Vectors of 16 numbers from the mean colour, of length 1 if `normalized`.
fn embedder(turned: f32, normalized: bool) -> Graph {
    let weights: Vec<f32> = (0..48).map(|index| ((index * 7 % 11) as f32 - 5.0) / 5.0 + turned * ((index % 3) as f32 - 1.0)).collect();
    let sketch = Sketch::new(&[0, 3, 8, 8]).plain("p", "GlobalAveragePool", "x").plain("f", "Flatten", "p");
    let sketch = sketch.constant("w", TensorData::new(&[3, 16], weights)).plain("g", "MatMul", "f w");
    if normalized { sketch.plain("y", "LpNormalization", "g").outputs("y") } else { sketch.outputs("g") }
}

#[test]
fn embeddings_are_no_classes_and_are_found_again() {
    let workshop = Workshop::new();
    fs::create_dir(workshop.path().join("pictures")).unwrap();
    for index in 0..12u8 {
        let picture = RgbImage::from_pixel(8, 8, Rgb([20 * index, 255 - 20 * index, 11 * (index % 5)]));
        picture.save(workshop.path().join("pictures").join(format!("{index:02}.png"))).unwrap();
    }
    workshop.write("a.onnx", embedder(0.0, true));
    workshop.write("b.onnx", embedder(0.001, true));
    let output = &workshop.report(&[])["comparison"]["outputs"][0];
    assert_eq!((&output["task"], &output["agreement_percent"]), (&"regress".into(), &Value::Null));
    assert!(output["task_reason"].as_str().unwrap().contains("embeddings"), "{output}");
    close(&output["rank1_percent"], 100.0);
    assert!(output["cosines"]["worst_decile"].as_f64().unwrap() > 0.999, "{output}");
    assert!(output["errors"]["p99"].as_f64() >= output["errors"]["median"].as_f64());
    workshop.write("b.onnx", embedder(0.5, true));
    workshop.assert_limit("--min-decile-cosine", "0.1", "0.9999", &[]);
    workshop.assert_limit("--max-p99-error", "2", "0.0001", &[]);
    workshop.assert_limit("--min-rank1", "0", "100", &[]);
    workshop.write("a.onnx", embedder(0.0, false));
    workshop.write("b.onnx", embedder(0.001, false));
    workshop.refuses(&["--min-rank1", "90"], "--task regress says that one is");
    assert_eq!(workshop.report(&["--task", "regress", "--min-rank1", "90"])["passed"], true);
}
