//! Forms in which detectors give boxes.

/// A form in which detectors give boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    Boxes,
    YoloV5,
    YoloV8,
    YoloX,
    Ssd,
}

impl Decoder {
    pub const ALL: [Decoder; 5] = [Decoder::Boxes, Decoder::YoloV5, Decoder::YoloV8, Decoder::YoloX, Decoder::Ssd];

    pub fn name(self) -> &'static str {
        match self {
            Decoder::Boxes => "boxes",
            Decoder::YoloV5 => "yolov5",
            Decoder::YoloV8 => "yolov8",
            Decoder::YoloX => "yolox",
            Decoder::Ssd => "ssd",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Decoder::Boxes => {
                "chosen within the model: boxes, scores and classes, or rows of x1, y1, x2, y2, score, class as YOLOv10 and YOLO26 give them"
            }
            Decoder::YoloV5 => "rows of x, y, width, height, objectness and a probability for each class: YOLOv5, YOLOv7",
            Decoder::YoloV8 => "the same without objectness: YOLOv8, YOLOv9, YOLO11",
            Decoder::YoloX => "as yolov5, relative to a grid of strides 8, 16 and 32: YOLOX",
            Decoder::Ssd => "corners of all boxes, and a probability for each class with the background first",
        }
    }
}
