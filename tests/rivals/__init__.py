"""What people usually run instead, put into a lab to be drilled beside what is shipped."""
