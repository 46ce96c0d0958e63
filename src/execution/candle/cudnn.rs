//! Convolutions by cuDNN, which candle uses for the pass forward alone.
//!
//! Only algorithms that sum in a fixed order are used: the same card and the same cuDNN give the same bits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::cudnn::safe::{
    ConvBackwardData, ConvBackwardFilter, ConvDescriptor, ConvForward, Cudnn, FilterDescriptor, TensorDescriptor,
};
use candle_core::cuda_backend::cudarc::cudnn::sys::{
    cudnnConvolutionBwdDataAlgo_t as DataAlgorithm, cudnnConvolutionBwdFilterAlgo_t as FilterAlgorithm,
    cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION, cudnnMathType_t as Math, cudnnTensorFormat_t::CUDNN_TENSOR_NCHW,
};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::cuda_backend::{CudaDevice, CudaStorage, DeviceId};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::convolution::Form;
use crate::kernels::Window;

/// A convolution over two spatial axes.
#[derive(Clone, Debug)]
pub(super) struct CudnnConvolution {
    window: Window,
    /// Zeros to put after rows and columns, beyond those that stand before them and as many after.
    extra: [usize; 2],
}

impl CudnnConvolution {
    /// `None` where depth counts.
    pub fn new(window: &Window) -> Option<Self> {
        if [window.image[0], window.map[0], window.kernel[0]] != [1, 1, 1] || window.pad[0] != 0 {
            return None;
        }
        let extra = [1, 2].map(|axis| {
            let reach = (window.map[axis] - 1) * window.stride[axis] + (window.kernel[axis] - 1) * window.dilation[axis] + 1;
            reach.saturating_sub(window.image[axis] + 2 * window.pad[axis])
        });
        let sizes = [1, 2].map(|axis| {
            let padded = window.image[axis] + 2 * window.pad[axis] + extra[axis - 1];
            let room = padded.checked_sub((window.kernel[axis] - 1) * window.dilation[axis] + 1)?;
            Some(room / window.stride[axis] + 1)
        });
        (sizes == [Some(window.map[1]), Some(window.map[2])]).then(|| CudnnConvolution { window: window.clone(), extra })
    }

    fn padded(&self, image: &Tensor) -> Result<Tensor> {
        let image = if self.extra[0] > 0 { image.pad_with_zeros(3, 0, self.extra[0])? } else { image.clone() };
        let image = if self.extra[1] > 0 { image.pad_with_zeros(4, 0, self.extra[1])? } else { image };
        image.contiguous()
    }

    fn product(&self, kind: Kind, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Product { kind, convolution: self.clone() })
    }
}

impl Form for CudnnConvolution {
    fn to_map(&self, image: &Tensor, weights: &Tensor) -> Result<Tensor> {
        self.product(Kind::Map, &self.padded(image)?, weights)
    }

    fn to_image(&self, map: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let image = self.product(Kind::Image, map, weights)?;
        image.narrow(3, 0, self.window.image[1])?.narrow(4, 0, self.window.image[2])?.contiguous()
    }

    fn to_weights(&self, image: &Tensor, map: &Tensor) -> Result<Tensor> {
        self.product(Kind::Weights, &self.padded(image)?, map)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Map,
    Image,
    Weights,
}

/// One of the three products of (image, weights), (map, weights) or (image, map).
struct Product {
    kind: Kind,
    convolution: CudnnConvolution,
}

/// What cuDNN is told of the three sides.
struct Sides {
    conv: ConvDescriptor<f32>,
    image: TensorDescriptor<f32>,
    weights: FilterDescriptor<f32>,
    map: TensorDescriptor<f32>,
}

/// A handle, which may be used by any thread, but by one at a time.
struct Handle(Arc<Cudnn>);

// SAFETY: cuDNN allows a handle to be used from several threads as long as they take turns; it is used under the lock of
// `with_handle` alone, and its stream is one that all threads share.
#[allow(unsafe_code)]
unsafe impl Send for Handle {}

/// Calls `work` with the handle of `device`.
fn with_handle<T>(device: &CudaDevice, work: impl FnOnce(&Arc<Cudnn>) -> Result<T>) -> Result<T> {
    static HANDLES: OnceLock<Mutex<HashMap<DeviceId, Handle>>> = OnceLock::new();
    let mut handles = HANDLES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let handle = match handles.remove(&device.id()) {
        Some(handle) => handle,
        None => Handle(Cudnn::new(device.cuda_stream())?),
    };
    let done = work(&handle.0);
    handles.insert(device.id(), handle);
    done
}

impl Product {
    fn image_sizes(&self) -> [usize; 2] {
        let CudnnConvolution { window, extra } = &self.convolution;
        [window.image[1] + extra[0], window.image[2] + extra[1]]
    }

    fn sides(&self, cudnn: &Arc<Cudnn>, batch: usize) -> Result<Sides> {
        let window = &self.convolution.window;
        let two = |sizes: [usize; 3]| [sizes[1] as i32, sizes[2] as i32];
        let mut conv = cudnn.create_conv2d::<f32>(two(window.pad), two(window.stride), two(window.dilation), CUDNN_CROSS_CORRELATION)?;
        conv.set_group_count(window.group as i32)?;
        conv.set_math_type(if super::is_exact() { Math::CUDNN_FMA_MATH } else { Math::CUDNN_DEFAULT_MATH })?;
        let tensor = |channels: usize, sizes: [usize; 2]| {
            let dims = [batch, channels, sizes[0], sizes[1]].map(|size| size as i32);
            cudnn.create_4d_tensor::<f32>(CUDNN_TENSOR_NCHW, dims)
        };
        let [_, height, width] = window.kernel;
        let dims = [window.features, window.channels / window.group, height, width].map(|size| size as i32);
        Ok(Sides {
            conv,
            image: tensor(window.channels, self.image_sizes())?,
            weights: cudnn.create_4d_filter::<f32>(CUDNN_TENSOR_NCHW, dims)?,
            map: tensor(window.features, [window.map[1], window.map[2]])?,
        })
    }

    fn shape(&self, batch: usize) -> Vec<usize> {
        let Window { features, channels, group, kernel, map, .. } = &self.convolution.window;
        let [height, width] = self.image_sizes();
        match self.kind {
            Kind::Map => vec![batch, *features, 1, map[1], map[2]],
            Kind::Image => vec![batch, *channels, 1, height, width],
            Kind::Weights => vec![*features, channels / group, 1, kernel[1], kernel[2]],
        }
    }

    fn launch(
        &self,
        sides: &Sides,
        device: &CudaDevice,
        a: &CudaView<'_, f32>,
        b: &CudaView<'_, f32>,
        to: &mut CudaSlice<f32>,
    ) -> Result<()> {
        let Sides { conv, image, weights, map } = sides;
        let scaling = (1.0, 0.0);
        let memory = |bytes: usize| device.alloc_zeros::<u8>(bytes.max(1));
        match self.kind {
            Kind::Map => {
                let product = ConvForward { conv, x: image, w: weights, y: map };
                let algorithm = product.pick_algorithm()?;
                let mut workspace = memory(product.get_workspace_size(algorithm)?)?;
                // SAFETY: the descriptors were made from the shapes of these slices, which are contiguous.
                #[allow(unsafe_code)]
                unsafe {
                    product.launch(algorithm, Some(&mut workspace), scaling, a, b, to)?;
                }
            }
            Kind::Image => {
                let product = ConvBackwardData { conv, dx: image, w: weights, dy: map };
                let algorithm = match product.pick_algorithm()? {
                    DataAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_0 => DataAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
                    ordered => ordered,
                };
                let mut workspace = memory(product.get_workspace_size(algorithm)?)?;
                // SAFETY: as above.
                #[allow(unsafe_code)]
                unsafe {
                    product.launch(algorithm, Some(&mut workspace), scaling, to, b, a)?;
                }
            }
            Kind::Weights => {
                let product = ConvBackwardFilter { conv, x: image, dw: weights, dy: map };
                let algorithm = match product.pick_algorithm()? {
                    FilterAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 | FilterAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3 => {
                        FilterAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1
                    }
                    ordered => ordered,
                };
                let mut workspace = memory(product.get_workspace_size(algorithm)?)?;
                // SAFETY: as above.
                #[allow(unsafe_code)]
                unsafe {
                    product.launch(algorithm, Some(&mut workspace), scaling, a, to, b)?;
                }
            }
        }
        Ok(())
    }
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("cuDNN runs on CUDA alone")
    }

    fn cuda_fwd(&self, a: &CudaStorage, a_layout: &Layout, b: &CudaStorage, b_layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let device = a.device().clone();
        let (a, b) = (contiguous(a, a_layout)?, contiguous(b, b_layout)?);
        let batch = a_layout.dims()[0];
        let shape = Shape::from(self.shape(batch));
        let mut to = device.alloc_zeros::<f32>(shape.elem_count())?;
        with_handle(&device, |cudnn| self.launch(&self.sides(cudnn, batch)?, &device, &a, &b, &mut to))?;
        Ok((CudaStorage::wrap_cuda_slice(to, device), shape))
    }
}

fn contiguous<'a>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, f32>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(storage.as_cuda_slice::<f32>()?.slice(start..end)),
        None => candle_core::bail!("a convolution needs contiguous sides"),
    }
}
