"""Generated scenes: covers → landscape → events → sensor → scene.

Nobody needs to read this to use the project.
"""
