//! The shapes that steps are measured on, with random weights.

use zeroq::graph::Graph;
use zeroq::graph::sketch::Sketch;
use zeroq::ops::Attributes;

pub struct Network {
    pub name: &'static str,
    /// Height and width of an image.
    pub size: usize,
    /// Images per step of synthesis.
    pub images: usize,
    draw: fn(usize) -> Graph,
}

pub const NETWORKS: [Network; 6] = [
    Network { name: "resnet20", size: 32, images: 64, draw: |size| cifar_resnet(3, size) },
    Network { name: "resnet56", size: 32, images: 64, draw: |size| cifar_resnet(9, size) },
    Network { name: "mobilenetv1_025", size: 224, images: 16, draw: mobilenet_v1 },
    Network { name: "mobilenetv2", size: 224, images: 8, draw: mobilenet_v2 },
    Network { name: "resnet18", size: 224, images: 8, draw: resnet18 },
    Network { name: "resnet50", size: 224, images: 4, draw: resnet50 },
];

/// The network `NAME` or `NAME@SIZE`.
pub fn draw(name: &str) -> Option<Graph> {
    let (name, size) = name.split_once('@').map_or((name, None), |(name, size)| (name, size.parse().ok()));
    let network = NETWORKS.iter().find(|network| network.name == name)?;
    Some((network.draw)(size.unwrap_or(network.size)))
}

/// A drawing and the value it has come to.
struct Drawing {
    sketch: Sketch,
    last: String,
    channels: usize,
    drawn: usize,
}

impl Drawing {
    fn new(size: usize) -> Self {
        Drawing { sketch: Sketch::new(&[0, 3, size, size]), last: "x".to_string(), channels: 3, drawn: 0 }
    }

    fn name(&mut self, kind: &str) -> String {
        self.drawn += 1;
        format!("{kind}{}", self.drawn)
    }

    fn plain(mut self, operator: &str, inputs: &[&str]) -> Self {
        let name = self.name(operator);
        self.sketch = self.sketch.plain(&name, operator, &inputs.join(" "));
        self.last = name;
        self
    }

    fn relu(self) -> Self {
        let last = self.last.clone();
        self.plain("Relu", &[&last])
    }

    /// Clip from 0 to 6.
    fn relu6(self) -> Self {
        let last = self.last.clone();
        self.plain("Clip", &[&last, "zero", "six"])
    }

    fn bounds(mut self) -> Self {
        self.sketch = self.sketch.scalar("zero", 0.0).scalar("six", 6.0);
        self
    }

    /// Convolution and BatchNormalization, from `self.last`.
    fn conv(mut self, channels: usize, kernel: usize, stride: usize, group: usize) -> Self {
        let (name, norm, inputs) = (self.name("conv"), self.name("norm"), self.channels / group);
        let weight = format!("{name}_w");
        let scale = (2.0 / (inputs * kernel * kernel) as f32).sqrt();
        let attributes = Attributes::default().sizes("pads", &[kernel / 2; 4]).sizes("strides", &[stride; 2]);
        let attributes = attributes.int("group", group as i64);
        let sketch = self.sketch.weights(&weight, &[channels, inputs, kernel, kernel], scale);
        let sketch = sketch.node(&name, "Conv", &format!("{} {weight}", self.last), attributes);
        self.sketch = sketch.norm(&norm, &name, channels);
        (self.last, self.channels) = (norm, channels);
        self
    }

    /// Global average pool and a linear head.
    fn head(mut self, classes: usize) -> Graph {
        let sketch = self.sketch.plain("pool", "GlobalAveragePool", &self.last).plain("flat", "Flatten", "pool");
        self.sketch = sketch.weights("head_w", &[self.channels, classes], 0.1).weights("head_b", &[classes], 0.1);
        self.sketch.plain("y", "Gemm", "flat head_w head_b").outputs("y")
    }

    /// 7×7 convolution and pooling, each with stride 2.
    fn stem(self) -> Self {
        let drawing = self.conv(64, 7, 2, 1).relu();
        let attributes = Attributes::default().sizes("kernel_shape", &[3, 3]).sizes("strides", &[2, 2]).sizes("pads", &[1; 4]);
        let sketch = drawing.sketch.node("pooled", "MaxPool", &drawing.last, attributes);
        Drawing { sketch, last: "pooled".to_string(), ..drawing }
    }

    /// Two 3×3 convolutions and a shortcut, which is a 1×1 convolution where `project` asks for one.
    fn basic_block(self, channels: usize, stride: usize, project: bool) -> Self {
        self.block(channels, stride, project, |drawing| drawing.conv(channels, 3, stride, 1).relu().conv(channels, 3, 1, 1))
    }

    /// Convolutions 1×1, 3×3 and 1×1 to four times the channels, and a shortcut as above.
    fn bottleneck(self, channels: usize, stride: usize, project: bool) -> Self {
        let body =
            |drawing: Drawing| drawing.conv(channels, 1, 1, 1).relu().conv(channels, 3, stride, 1).relu().conv(4 * channels, 1, 1, 1);
        self.block(4 * channels, stride, project, body)
    }

    fn block(mut self, channels: usize, stride: usize, project: bool, body: impl Fn(Drawing) -> Drawing) -> Self {
        let (start, inputs) = (self.last.clone(), self.channels);
        self = body(self);
        let body = self.last.clone();
        let mut shortcut = start.clone();
        if project {
            (self.last, self.channels) = (start, inputs);
            self = self.conv(channels, 1, stride, 1);
            shortcut = self.last.clone();
        }
        self.plain("Add", &[&body, &shortcut]).relu()
    }
}

fn cifar_resnet(blocks: usize, size: usize) -> Graph {
    let mut drawing = Drawing::new(size).conv(16, 3, 1, 1).relu();
    for channels in [16, 32, 64] {
        for block in 0..blocks {
            let shrinks = block == 0 && channels > 16;
            drawing = drawing.basic_block(channels, if shrinks { 2 } else { 1 }, shrinks);
        }
    }
    drawing.head(10)
}

fn resnet18(size: usize) -> Graph {
    let mut drawing = Drawing::new(size).stem();
    for channels in [64, 128, 256, 512] {
        for block in 0..2 {
            let shrinks = block == 0 && channels > 64;
            drawing = drawing.basic_block(channels, if shrinks { 2 } else { 1 }, shrinks);
        }
    }
    drawing.head(1000)
}

fn resnet50(size: usize) -> Graph {
    let mut drawing = Drawing::new(size).stem();
    for (channels, blocks) in [(64, 3), (128, 4), (256, 6), (512, 3)] {
        for block in 0..blocks {
            let stride = if block == 0 && channels > 64 { 2 } else { 1 };
            drawing = drawing.bottleneck(channels, stride, block == 0);
        }
    }
    drawing.head(1000)
}

/// Width 0.25.
fn mobilenet_v1(size: usize) -> Graph {
    let mut drawing = Drawing::new(size).bounds().conv(8, 3, 2, 1).relu6();
    let layers =
        [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (128, 1), (128, 1), (128, 1), (256, 2), (256, 1)];
    for (channels, stride) in layers {
        let inputs = drawing.channels;
        drawing = drawing.conv(inputs, 3, stride, inputs).relu6().conv(channels, 1, 1, 1).relu6();
    }
    drawing.head(1000)
}

/// Width 1.
fn mobilenet_v2(size: usize) -> Graph {
    let mut drawing = Drawing::new(size).bounds().conv(32, 3, 2, 1).relu6();
    let stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
    for (expansion, channels, blocks, stride) in stages {
        for block in 0..blocks {
            let (start, inputs) = (drawing.last.clone(), drawing.channels);
            if expansion > 1 {
                drawing = drawing.conv(inputs * expansion, 1, 1, 1).relu6();
            }
            let (wide, stride) = (drawing.channels, if block == 0 { stride } else { 1 });
            drawing = drawing.conv(wide, 3, stride, wide).relu6().conv(channels, 1, 1, 1);
            if stride == 1 && inputs == channels {
                let body = drawing.last.clone();
                drawing = drawing.plain("Add", &[&body, &start]);
            }
        }
    }
    drawing.conv(1280, 1, 1, 1).relu6().head(1000)
}
