//! Which vector instructions to use, chosen once per run.

/// An instruction set. Results are bit-identical on any number of threads, but differ in the last bits between sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    Portable,
    /// NEON with FMA, which every 64-bit ARM has.
    Neon,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, VL, BW, DQ.
    Avx512,
}

impl Isa {
    /// The best that this machine has.
    pub fn detect() -> Self {
        [Isa::Avx512, Isa::Avx2, Isa::Neon].into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }

    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            match self {
                Isa::Portable => true,
                Isa::Neon => false,
                Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
                Isa::Avx512 => {
                    Isa::Avx2.is_available()
                        && is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512vl")
                        && is_x86_feature_detected!("avx512bw")
                        && is_x86_feature_detected!("avx512dq")
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Isa::Portable || (cfg!(target_arch = "aarch64") && self == Isa::Neon)
        }
    }

    /// Every set that this machine has, the portable one first.
    pub fn available() -> impl Iterator<Item = Isa> {
        [Isa::Portable, Isa::Neon, Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_available())
    }

    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// Runs `work` compiled for this set: loops inside it vectorize to its width, as far as `work` is inlined:
    /// mark the closure itself, closures inside it, and the functions it calls `#[inline(always)]`. An unavailable set runs as portable code.
    #[inline(always)]
    pub fn run<R>(self, work: impl FnOnce() -> R) -> R {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma")]
            fn avx2<R>(work: impl FnOnce() -> R) -> R {
                work()
            }
            #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
            fn avx512<R>(work: impl FnOnce() -> R) -> R {
                work()
            }
            match self {
                // SAFETY: the features that the callee needs were detected on this machine.
                Isa::Avx512 if self.is_available() => return unsafe { avx512(work) },
                // SAFETY: as above.
                Isa::Avx2 if self.is_available() => return unsafe { avx2(work) },
                _ => {}
            }
        }
        work()
    }
}

impl std::str::FromStr for Isa {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let isa = match name {
            "auto" => return Ok(Isa::detect()),
            "portable" => Isa::Portable,
            "neon" => Isa::Neon,
            "avx2" => Isa::Avx2,
            "avx512" => Isa::Avx512,
            _ => return Err("expected auto, portable, neon, avx2 or avx512".to_string()),
        };
        if isa.is_available() { Ok(isa) } else { Err(format!("this machine has no {name}")) }
    }
}
