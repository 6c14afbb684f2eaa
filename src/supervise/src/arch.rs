//! The architectures whose programs this kernel may run: a filter that knows only the native one is walked around by
//! a 32-bit program.

use libseccomp::error::SeccompError;
use libseccomp::{ScmpArch, ScmpFilterContext};

/// Lets `filter` hold for every architecture of [`all`]; rules added later are translated for each.
pub(crate) fn cover(filter: &mut ScmpFilterContext) -> Result<(), SeccompError> {
    for arch in all() {
        filter.add_arch(arch)?;
    }
    Ok(())
}

/// The native architecture and those that the same kernel runs beside it.
pub(crate) fn all() -> Vec<ScmpArch> {
    let native = ScmpArch::native();
    let foreign: &[ScmpArch] = match native {
        ScmpArch::X8664 => &[ScmpArch::X86, ScmpArch::X32],
        ScmpArch::Aarch64 => &[ScmpArch::Arm],
        _ => &[],
    };
    std::iter::once(native).chain(foreign.iter().copied()).collect()
}
