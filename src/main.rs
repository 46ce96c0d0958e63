fn main() -> std::process::ExitCode {
    zeroq::cli::main()
}
