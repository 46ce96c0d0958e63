//! MaxPool, AveragePool and their global forms.

use super::attributes::Attributes;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Layout, Operator, QuantizationRole, Refusal, Site};
use super::window::Window;
use super::{NodeForm, Parsed};
use crate::graph::Dim;
use crate::kernels::Isa;

/// Largest element under a window; padding never wins. Dilations and the second output are refused.
#[derive(Clone, Debug)]
pub struct MaxPool {
    pub window: Window,
}

/// Mean under a window.
#[derive(Clone, Debug)]
pub struct AveragePool {
    pub window: Window,
    pub count_include_pad: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct GlobalAveragePool;

#[derive(Clone, Copy, Debug)]
pub struct GlobalMaxPool;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Max,
    Average,
}

/// For each output position: where its window's input positions are, and the divisor of a mean.
struct PoolKernel {
    kind: Kind,
    windows: Vec<(Vec<u32>, f32)>,
    channels: usize,
    isa: Isa,
}

impl PoolKernel {
    fn new(kind: Kind, window: &Window, include_pad: bool, site: &Site<'_>) -> Result<Self, Refusal> {
        let input = &site.required(0)?.layout;
        if *input != Layout::activation(&input.shape) {
            return Err("it pools activations only".to_string());
        }
        let spatial = &input.shape[2..];
        let resolved = window.resolve(spatial, None)?;
        let channels = input.shape[0] * input.shape[1];
        if input.shape[0] != 1 {
            return Err("a fixed batch above 1 is not supported".to_string());
        }
        let mut windows = vec![(vec![0u32], 1.0f32)];
        for axis in 0..spatial.len() {
            let mut next = Vec::new();
            for (bases, divisor) in &windows {
                for position in 0..resolved.output[axis] {
                    let start = (position * resolved.strides[axis]) as isize - resolved.begins[axis] as isize;
                    let end = (start + resolved.kernel[axis] as isize).min((spatial[axis] + resolved.ends[axis]) as isize);
                    let valid = start.max(0)..end.min(spatial[axis] as isize);
                    let count = if include_pad { end - start } else { valid.end - valid.start };
                    let bases = bases.iter().flat_map(|base| valid.clone().map(move |at| base * spatial[axis] as u32 + at as u32));
                    next.push((bases.collect(), divisor * count as f32));
                }
            }
            windows = next;
        }
        for (positions, _) in &mut windows {
            positions.iter_mut().for_each(|position| *position *= channels as u32);
        }
        if windows.iter().any(|(positions, _)| positions.is_empty()) {
            return Err("a window lies wholly in the padding".to_string());
        }
        Ok(PoolKernel { kind, windows, channels, isa: site.isa })
    }
}

impl Kernel for PoolKernel {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        let c = self.channels;
        for ((positions, divisor), out) in self.windows.iter().zip(output.chunks_exact_mut(c)) {
            let first = positions[0] as usize;
            out.copy_from_slice(&inputs[0][first..first + c]);
            for position in &positions[1..] {
                let row = &inputs[0][*position as usize..*position as usize + c];
                match self.kind {
                    Kind::Max => self.isa.run(|| out.iter_mut().zip(row).for_each(|(y, x)| *y = if *x > *y { *x } else { *y })),
                    Kind::Average => self.isa.run(|| out.iter_mut().zip(row).for_each(|(y, x)| *y += x)),
                }
            }
            if self.kind == Kind::Average {
                out.iter_mut().for_each(|y| *y /= divisor);
            }
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let (c, target) = (self.channels, gradient.open());
        let rows = call.output.chunks_exact(c).zip(call.output_gradient.chunks_exact(c));
        for ((positions, divisor), (y, g)) in self.windows.iter().zip(rows) {
            if self.kind == Kind::Average {
                for position in positions {
                    let row = &mut target[*position as usize..*position as usize + c];
                    self.isa.run(|| row.iter_mut().zip(g).for_each(|(t, g)| *t += g / divisor));
                }
                continue;
            }
            for channel in 0..c {
                let largest = positions.iter().map(|position| *position as usize + channel).find(|at| call.inputs[0][*at] == y[channel]);
                if let Some(at) = largest {
                    target[at] += g[channel];
                }
            }
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        self.kind == Kind::Max
    }

    fn backward_needs_output(&self) -> bool {
        self.kind == Kind::Max
    }
}

fn infer_window(window: &Window, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
    let x = inputs.required(0)?;
    let channels = x.shape.get(1).cloned().unwrap_or(Dim::Unknown);
    Ok(vec![Fact::new(x.data_type, window.output_shape(&x.shape, channels, None)?)])
}

fn refuse_dilations(window: &Window) -> Result<(), Refusal> {
    if window.kernel_shape.is_empty() {
        return Err("attribute `kernel_shape` is missing".to_string());
    }
    if window.dilations.iter().any(|dilation| *dilation > 1) {
        return Err(format!("dilations={:?} is not supported", window.dilations));
    }
    Ok(())
}

impl MaxPool {
    /// # Errors
    /// If an attribute is wrong, unknown or not supported.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let window = Window::parse(&mut attributes)?;
        let _ = attributes.take_int("storage_order", 0)?;
        attributes.finish()?;
        refuse_dilations(&window)?;
        if form.output_count > 1 {
            return Err("the output `Indices` is not supported".to_string());
        }
        Ok(Parsed::plain(MaxPool { window }))
    }
}

impl Operator for MaxPool {
    fn name(&self) -> &str {
        "MaxPool"
    }

    fn attributes(&self) -> Attributes {
        self.window.write(Attributes::default())
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        infer_window(&self.window, inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        Ok(Implementation::Compute(Box::new(PoolKernel::new(Kind::Max, &self.window, false, site)?)))
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::PassThrough
    }
}

impl AveragePool {
    /// # Errors
    /// If an attribute is wrong, unknown or not supported.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let window = Window::parse(&mut attributes)?;
        let count_include_pad = attributes.take_int("count_include_pad", 0)? != 0;
        attributes.finish()?;
        refuse_dilations(&window)?;
        Ok(Parsed::plain(AveragePool { window, count_include_pad }))
    }
}

impl Operator for AveragePool {
    fn name(&self) -> &str {
        "AveragePool"
    }

    fn attributes(&self) -> Attributes {
        let attributes = self.window.write(Attributes::default());
        if self.count_include_pad { attributes.int("count_include_pad", 1) } else { attributes }
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        infer_window(&self.window, inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        Ok(Implementation::Compute(Box::new(PoolKernel::new(Kind::Average, &self.window, self.count_include_pad, site)?)))
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Function
    }
}

macro_rules! global_pool {
    ($name:ident, $kind:expr, $role:expr) => {
        impl $name {
            /// # Errors
            /// If an attribute is unknown.
            pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
                form.attributes.finish()?;
                Ok(Parsed::plain($name))
            }
        }

        impl Operator for $name {
            fn name(&self) -> &str {
                stringify!($name)
            }

            fn attributes(&self) -> Attributes {
                Attributes::default()
            }

            fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
                let x = inputs.required(0)?;
                if x.rank() < 3 {
                    return Err(format!("its input has rank {}, it needs at least 3", x.rank()));
                }
                let shape = x.shape.iter().enumerate().map(|(i, dim)| if i < 2 { dim.clone() } else { Dim::Known(1) });
                Ok(vec![Fact::new(x.data_type, shape.collect())])
            }

            fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
                let spatial = site.required(0)?.layout.shape[2..].to_vec();
                let window = Window { kernel_shape: spatial, ..Window::default() };
                Ok(Implementation::Compute(Box::new(PoolKernel::new($kind, &window, false, site)?)))
            }

            fn quantization_role(&self) -> QuantizationRole {
                $role
            }
        }
    };
}

global_pool!(GlobalAveragePool, Kind::Average, QuantizationRole::Function);
global_pool!(GlobalMaxPool, Kind::Max, QuantizationRole::Float);
