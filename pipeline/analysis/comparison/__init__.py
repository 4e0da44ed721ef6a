"""What differs between two graphs, tensor by tensor."""
