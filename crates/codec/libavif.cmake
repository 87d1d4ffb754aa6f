# How cmake builds libaom and libavif: .cargo/config.toml hands this to their build scripts.

# Those choose Debug for `cargo build` and `cargo test`: no optimization, which is twenty times as
# slow, and assertions that end the process.
set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)

# libaom does not build without an assembler. AVIF then takes several times as long.
find_program(NASM NAMES nasm yasm)
if(NOT NASM AND CMAKE_HOST_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  message(WARNING "no nasm: libaom is built without its assembly")
  set(AOM_TARGET_CPU generic CACHE STRING "" FORCE)
endif()
